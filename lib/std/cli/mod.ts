/** Command line parsing, the part of @std/cli that this project uses. */
export * from "./parse_args.ts";
