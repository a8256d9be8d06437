export const GET = (): Response => {
  throw new RangeError('Something of the visitor’s: nobody@shop.example');
};
