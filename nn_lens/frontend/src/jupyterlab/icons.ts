/** The lens, in the colours of whichever theme is on. */
import { LabIcon } from "@jupyterlab/ui-components";

export const DRAWING = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24" fill="none" stroke-width="2" stroke-linecap="round">
  <circle class="jp-icon3" stroke="#616161" cx="10" cy="10" r="7"/><path class="jp-icon3" stroke="#616161" d="M15.5 15.5 21 21"/>
  <path class="jp-icon-brand0" stroke="#1976d2" d="M6.5 12.5 12 6.5M9.5 13 13 9"/></svg>`;

export const lensIcon = new LabIcon({ name: "nn-lens:lens", svgstr: DRAWING });
