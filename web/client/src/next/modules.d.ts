/** What is used of Next.js, which is no dependency of this workspace. */
declare module 'next/navigation.js' {
  /** The path without the base path; null in the pages router while it is not known. */
  export const usePathname: () => string | null;
  export const useParams: () => Readonly<Record<string, string | string[] | undefined>> | null;
}

declare module 'next/compat/router.js' {
  /** The pages router; null in the app router. */
  export const useRouter: () => { readonly pathname: string; readonly asPath: string } | null;
}
