import 'reflect-metadata';
import { AnalyticsModule } from '@analytics/client/nestjs';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { HealthController, OrdersController } from './orders.js';
import { Settings, SettingsModule } from './settings.js';

@Module({
  imports: [
    SettingsModule,
    AnalyticsModule.forRootAsync({
      imports: [SettingsModule],
      inject: [Settings],
      useFactory: ({ analyticsUrl, token }: Settings) => ({
        apiBaseUrl: analyticsUrl,
        appName: 'orders.example',
        token,
        proxies: 1, // Leave it out where nothing stands before the application.
        requests: true,
        userId: ({ headers }: { headers: Record<string, string | undefined> }) => headers['x-user']
      })
    })
  ],
  controllers: [OrdersController, HealthController]
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks();
await app.listen(app.get(Settings).port, '127.0.0.1');
console.log(`Orders are taken at ${await app.getUrl()}`);
