/** The words of the panel, from the catalogue that Python reads too (nn_lens/widgets/strings.json). */
import strings from "../../../widgets/strings.json";
import type { ViewName } from "./questions";

export const STRINGS = strings;

/** The names of the catalogue's short texts, and what their {names} are filled with. */
export type Phrase = keyof typeof strings.phrases;
export type Values = Record<string, string | number>;

export function titleOf(view: ViewName): string {
  return strings.titles[view];
}

/** What a view shows, and how that was made. */
export function aboutOf(view: ViewName): [shows: string, made: string] {
  const [shows = "", made = ""] = strings.about[view];
  return [shows, made];
}
