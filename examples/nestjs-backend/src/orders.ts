import { AnalyticsService, NoTrack, type Outcome, Track, TrackView } from '@analytics/client/nestjs';
import { BadRequestException, Body, Controller, Get, Header, Param, Post, Req } from '@nestjs/common';

export class Order {
  readonly product: string;
  readonly total: number;
}

type AsksWithOrder = { readonly body: Order; readonly headers: Readonly<Record<string, string | undefined>> };

const productOf = ({ request }: Outcome) => ({ product: (request as unknown as AsksWithOrder).body.product });

@Controller('orders')
export class OrdersController {
  constructor(private readonly analytics: AnalyticsService) {}

  /** A page without any script: its view is reported by the server. */
  @Get(':id')
  @TrackView()
  @Header('content-type', 'text/html; charset=utf-8')
  show(@Param('id') id: string): string {
    return `<!doctype html><title>Order</title><p>Order ${Number(id)}</p>`;
  }

  /** Reported when it has succeeded; `checkout`, with `always`, also when it has not. */
  @Post()
  @Track('order_placed', productOf)
  @Track('checkout', ({ status }) => ({ status }), { always: true })
  place(@Body() order: Order, @Req() request: AsksWithOrder): object {
    if (!(order.total > 0)) throw new BadRequestException('An order has a total.');
    this.analytics.forRequest(request).revenue(order.total, 'EUR', { product: order.product });
    return { placed: true };
  }
}

@NoTrack()
@Controller('health')
export class HealthController {
  @Get()
  health(): object {
    return { up: true };
  }
}
