import { Injectable, Module } from '@nestjs/common';

/** `TOKEN` is a token of role `collect`, or of role `admin` while trying this out. */
@Injectable()
export class Settings {
  readonly analyticsUrl = process.env.ANALYTICS_URL ?? 'http://127.0.0.1:8000';
  readonly token = process.env.TOKEN ?? '';
  readonly port = Number(process.env.PORT ?? 3001);
}

@Module({ providers: [Settings], exports: [Settings] })
export class SettingsModule {}
