/** Every decoder of bytes that somebody else controls. */
import type { Target } from "./engine.ts"
import { directoryTargets } from "./targets-directory.ts"
import { sdkTargets } from "./targets-sdk.ts"
import { serviceTargets } from "./targets-service.ts"
import { statementTargets } from "./targets-statements.ts"
import { wireTargets } from "./targets-wire.ts"

export const targets: readonly Target[] = [
  ...wireTargets,
  ...statementTargets,
  ...directoryTargets,
  ...serviceTargets,
  ...sdkTargets,
]
