/** All views, and what decodes the answers of each kind of question: a view brings both, and stands here. */
import { decodeStack } from "../drawing/tiles";
import type { Decode } from "../panel/answers";
import type { Field } from "../panel/geometry";
import type { Message } from "../panel/protocol";
import type { ViewName, What } from "../panel/questions";
import type { Store } from "../panel/store";
import { AblationView, decodeAblation } from "./ablation";
import { ActivationsView } from "./activations";
import { ArithmeticView, decodeArithmetic } from "./arithmetic";
import { AttributionView, decodeAttribution } from "./attribution";
import { BlocksView, decodeBlocks } from "./blocks";
import { ContributionsView, decodeContributions } from "./contributions";
import { DirectionsView, decodeDirections } from "./directions";
import { decodeEmbedding, EmbeddingView } from "./embedding";
import { decodeExamples, decodeTrust, ExamplesView } from "./examples";
import { FiltersView } from "./filters";
import { HereView } from "./here";
import { decodeIncoming, IncomingView } from "./incoming";
import { KernelView } from "./kernel";
import { decodeLater } from "./later";
import { decodePage, MaximizationView } from "./maximization";
import { decodeMistakes, MistakesView } from "./mistakes";
import { decodeOverview, OverviewView } from "./overview";
import { decodeScores, PictureView } from "./picture";
import { UnitView } from "./unit";
import type { View } from "./view";

export const VIEW_CLASSES: Record<ViewName, new (store: Store) => View> = {
  picture: PictureView,
  unit: UnitView,
  overview: OverviewView,
  filters: FiltersView,
  maximization: MaximizationView,
  activations: ActivationsView,
  here: HereView,
  arithmetic: ArithmeticView,
  blocks: BlocksView,
  kernel: KernelView,
  examples: ExamplesView,
  attribution: AttributionView,
  contributions: ContributionsView,
  ablation: AblationView,
  incoming: IncomingView,
  directions: DirectionsView,
  embedding: EmbeddingView,
  mistakes: MistakesView,
};

export const DECODERS = {
  maps: decodeStack,
  filters: decodeStack,
  scores: decodeScores,
  overview: decodeOverview,
  field: (head: Message): Field => head as unknown as Field,
  arithmetic: decodeArithmetic,
  here: decodePage,
  page: decodePage,
  negative: decodePage,
  blocks: decodeBlocks,
  examples: decodeExamples,
  trust: decodeTrust,
  attribution: decodeAttribution,
  contributions: decodeContributions,
  ablation: decodeAblation,
  later: decodeLater,
  incoming: decodeIncoming,
  directions: decodeDirections,
  embedding: decodeEmbedding,
  mistakes: decodeMistakes,
} satisfies Record<What, Decode>;

/** What each kind of answer is, decoded. */
export type Decoded = { [W in What]: Awaited<ReturnType<(typeof DECODERS)[W]>> };
