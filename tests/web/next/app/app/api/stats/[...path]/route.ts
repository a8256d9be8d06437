import { proxy } from '../../../../lib/server';

export const { GET, POST } = proxy;
