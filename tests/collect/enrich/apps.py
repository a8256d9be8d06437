"""Real devices whose strings mislead: browsers inside apps, apps, HarmonyOS, models and apps named like robots."""

from __future__ import annotations

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko) "
_WEBVIEW = f"Mozilla/5.0 (Linux; Android 13; SM-S908B Build/TP1A.220624.014; wv) {_WEBKIT}Version/4.0 Chrome/120.0.0.0 "
_SAMSUNG = "samsung; SM-S908B; b0q; qcom; en_US; 493419337)"
_K = f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT}Chrome/150.0.0.0 "

Named = tuple[str, str, str, str, str]

APPS: tuple[tuple[str, Named], ...] = (
    # Browsers inside apps name Android twice.
    (
        f"{_WEBVIEW}Mobile Safari/537.36 Instagram 3.0 Android (33/13; 480dpi; 1080x2316; {_SAMSUNG}",
        ("Android WebView", "120", "Android", "13", "Mobile"),
    ),
    (
        f"{_WEBVIEW}Mobile Safari/537.36 Barcelona 448.0.0.54.85 Android (36/16; 540dpi; 1080x2340; {_SAMSUNG}",
        ("Android WebView", "120", "Android", "13", "Mobile"),
    ),
    (f"{_K}Mobile Safari/537.36 (Ecosia android@150.0.0.0)", ("Ecosia Android", "150", "Android", "10", "Mobile")),
    (f"{_K}Safari/537.36 MyShop Android/3.1", ("Chrome", "150", "Android", "10", "Tablet")),
    # HarmonyOS
    (
        f"Mozilla/5.0 (PC; OpenHarmony 5.0) {_WEBKIT}Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 HuaweiBrowser/5.1",
        ("Huawei Browser", "5", "HarmonyOS", "5.0", "Desktop"),
    ),
    (
        f"Mozilla/5.0 (2in1; OpenHarmony 5.1) {_WEBKIT}Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 HuaweiBrowser/5.1",
        ("Huawei Browser", "5", "HarmonyOS", "5.1", "Desktop"),
    ),
    (
        f"Mozilla/5.0 (Phone; OpenHarmony 5.0) {_WEBKIT}Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile "
        "HuaweiBrowser/5.1.4.300",
        ("Huawei Browser", "5", "HarmonyOS", "5.0", "Mobile"),
    ),
    (
        f"Mozilla/5.0 (Tablet; OpenHarmony 5.0) {_WEBKIT}Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 "
        "HuaweiBrowser/5.1.4.300",
        ("Huawei Browser", "5", "HarmonyOS", "5.0", "Tablet"),
    ),
    (
        f"Mozilla/5.0 (Phone; OpenHarmony 6.0) {_WEBKIT}Chrome/132.0.0.0 Safari/537.36 ArkWeb/6.0.0.1 Mobile",
        ("Chrome", "132", "HarmonyOS", "6.0", "Mobile"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 12; HarmonyOS; LIO-AN00; HMSCore 6.4.0.311) {_WEBKIT}Chrome/92.0.4515.105 "
        "HuaweiBrowser/12.1.1.321 Mobile Safari/537.36",
        ("Huawei Browser", "12", "HarmonyOS", "", "Mobile"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 10; HarmonyOS; MRX-W09) {_WEBKIT}Chrome/92.0.4515.105 "
        "HuaweiBrowser/12.1.1.321 Safari/537.36",
        ("Huawei Browser", "12", "HarmonyOS", "", "Tablet"),
    ),
    # Models that are named like robots and tools
    (
        f"Mozilla/5.0 (Linux; Android 12; Bot A1) {_WEBKIT}Chrome/120.0.0.0 Mobile Safari/537.36",
        ("Chrome", "120", "Android", "12", "Mobile"),
    ),
    (
        f"Mozilla/5.0 (Linux; U; Android 8.1.0; en-us; Spider X Build/OPM1) {_WEBKIT}Chrome/120.0.0.0 "
        "Mobile Safari/537.36",
        ("Chrome", "120", "Android", "8.1", "Mobile"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 11; Scan Monitor 8) {_WEBKIT}Chrome/120.0.0.0 Safari/537.36",
        ("Chrome", "120", "Android", "11", "Tablet"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 9; CUBOT X19) {_WEBKIT}Chrome/96.0.4664.45 Mobile Safari/537.36",
        ("Chrome", "96", "Android", "9", "Mobile"),
    ),
    # Apps with a name of their own
    ("MyShop/3.2.1 (Android 14; Pixel 8)", ("MyShop", "3", "Android", "14", "Mobile")),
    ("MyShop/1.0 CFNetwork/1410.0.3 Darwin/22.6.0", ("MyShop", "1", "iOS", "16", "Mobile")),
    ("MyShop/1.0 (iPhone; iOS 17.5; Scale/3.00)", ("MyShop", "1", "iOS", "17.5", "Mobile")),
    ("MyShop/1.0 (com.my.shop; build:7; iOS 17.5.0) Alamofire/5.6.4", ("MyShop", "1", "iOS", "17.5", "Mobile")),
    ("MyShop/1.0 (iPad; iPadOS 17.5)", ("MyShop", "1", "iOS", "", "Tablet")),
    ("MyShop/1.0 (Apple TV; tvOS 17.5)", ("MyShop", "1", "tvOS", "", "TV")),
    ("MyShop/1.0 (Android 14; SM-X710)", ("MyShop", "1", "Android", "14", "Tablet")),
    ("MyShop/2.0 (macOS 14.4; Mac14,2)", ("MyShop", "2", "macOS", "14.4", "Desktop")),
    ("MyShop/2.0 (Windows NT 10.0; Win64; x64)", ("MyShop", "2", "Windows", "10", "Desktop")),
    ("MyShop/3.2.1 okhttp/4.12.0", ("MyShop", "3", "", "", "")),
    ("MyShop/3.2.1 (Android 14; Pixel 8) okhttp/4.12.0", ("MyShop", "3", "Android", "14", "Mobile")),
    ("MyShop/3.2.1 (Android 14; Bot A1)", ("MyShop", "3", "Android", "14", "Mobile")),
    ("Pluto TV/5.1 (iPhone; iOS 17.5)", ("Pluto TV", "5", "iOS", "17.5", "Mobile")),
    ("Baby Monitor/3.1 (iPhone; iOS 17.5)", ("Baby Monitor", "3", "iOS", "17.5", "Mobile")),
    ("GlucoseMonitor/2.4 CFNetwork/1410.0.3 Darwin/22.6.0", ("GlucoseMonitor", "2", "iOS", "16", "Mobile")),
    ("FetchRewards/3.9 (iPhone; iOS 17.5)", ("FetchRewards", "3", "iOS", "17.5", "Mobile")),
    ("Booking.com/30.1 (Android 14; Pixel 8)", ("Booking.com", "30", "Android", "14", "Mobile")),
    (
        "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A.230803.041)",
        ("Android App", "", "Android", "14", "Mobile"),
    ),
    # Televisions
    (
        f"Mozilla/5.0 (Linux; Android 9; AFTEUFF014) {_WEBKIT}Chrome/120.0.0.0 Safari/537.36",
        ("Chrome", "120", "Android", "9", "TV"),
    ),
)
"""A string and its browser (or app), major version, system, its version, and kind of device. None is a bot."""
