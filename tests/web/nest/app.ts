/** A Nest application, as the tests run it: `node app.mjs CONFIG express|fastify`. Prints its port as JSON. */
import 'reflect-metadata';
import {
  BadRequestException,
  Body,
  Controller,
  Get,
  Header,
  Inject,
  Injectable,
  Module,
  Param,
  Post,
  Req,
  type CanActivate,
  UseGuards
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AnalyticsModule, AnalyticsService, type HttpRequest, NoTrack, Track, TrackView } from '@analytics/client/nestjs';

declare const process: { argv: string[] };
declare const console: { log(text: string): void };
const [config, adapter] = process.argv.slice(2) as [string, string];

type Asked = { headers: Record<string, string>; body: { plan: string } };

class Refuses implements CanActivate {
  canActivate(): boolean {
    return false;
  }
}

@Controller()
class Shop {
  constructor(@Inject(AnalyticsService) private readonly analytics: AnalyticsService) {}

  @Get('orders/:id')
  @TrackView()
  order(@Param('id') id: string): object {
    return { id };
  }

  @Post('orders')
  @Track('order_placed', ({ request, status }) => ({ plan: (request as unknown as Asked).body.plan, status }))
  @Track('seen_too')
  place(@Body() _body: object): object {
    return {};
  }

  @Get('fails')
  @Track('never')
  @Track('tried', { always: 'yes' }, { always: true })
  @TrackView()
  fails(): object {
    throw new BadRequestException();
  }

  @Get('broken')
  @Track('broken', () => {
    throw new Error('The application’s own fault.');
  })
  broken(): object {
    return {};
  }

  @Get('refused')
  @UseGuards(Refuses)
  @Track('never')
  refused(): object {
    return {};
  }

  @Get('asked')
  asked(@Req() request: HttpRequest): object {
    this.analytics.forRequest(request).track('asked');
    return {};
  }

  @Get('page')
  @Header('content-type', 'text/html; charset=utf-8')
  page(): string {
    return '<p>Page</p>';
  }
}

@NoTrack()
@Controller('health')
class Health {
  @Get()
  @Track('never')
  health(): object {
    return {};
  }
}

@Injectable()
class Settings {
  readonly config = JSON.parse(config);
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

@Module({
  imports: [
    AnalyticsModule.forRootAsync({
      imports: [SettingsModule],
      inject: [Settings],
      useFactory: (settings: Settings) => ({
        ...settings.config,
        proxies: 1,
        requests: true,
        userId: (request: Asked) => request.headers['x-user']
      })
    })
  ],
  controllers: [Shop, Health]
})
class Application {}

const platform =
  adapter === 'fastify'
    ? new (await import('@nestjs/platform-fastify')).FastifyAdapter()
    : new (await import('@nestjs/platform-express')).ExpressAdapter();
const app = await NestFactory.create(Application, platform, { logger: ['error'], abortOnError: false });
app.enableShutdownHooks();
app.use(app.get(AnalyticsService).pageviews());
await app.listen(0, '127.0.0.1');
console.log(JSON.stringify({ port: app.getHttpServer().address().port }));
