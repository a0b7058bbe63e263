/** The words of the panel, from the catalogue that Python reads too (nn_lens/widgets/strings.json). */
import strings from "../../../widgets/strings.json";
import type { ViewName } from "./questions";

export const STRINGS = strings;

/** What a view shows, and how that was made. */
export function aboutOf(view: ViewName): [shows: string, made: string] {
  const [shows = "", made = ""] = (strings.about as Partial<Record<ViewName, string[]>>)[view] ?? [];
  return [shows, made];
}
