/**
 * The exercise's automatic PoCs: once the story has been told they acknowledge and answer by themselves, visibly, under
 * an officer's key that is listed as automatic. Outside a sandbox no answer is ever automatic.
 */
import type { MessageView, Poc } from "../../client-sdk/index.ts"
import { ValiseError } from "../../client-sdk/index.ts"

const note = "Automatic answer of an exercise PoC; no officer has looked at this."

/** Answers what is there and what comes, until the signal aborts. Never throws for one message. */
export async function answerAutomatically(poc: Poc, told: (words: string) => void, signal: AbortSignal): Promise<void> {
  const me = poc.whoami().poc
  const answerAll = (): undefined => {
    for (const view of poc.received()) if (!view.acknowledged) attempt(() => answer(poc, me, view, told))
    for (const consent of poc.consents())
      if (consent.mine === "nothing" && consent.state === "open" && consent.role === "involved")
        attempt(() => {
          poc.grant(consent.requestId)
          told(`${me} (automatic) consents to request ${consent.requestId.slice(0, 8)}`)
        })
    return undefined
  }
  try {
    await poc.until(answerAll, signal)
  } catch (error) {
    if (!(error instanceof ValiseError && error.code === "ERR_ABORTED")) throw error
  }
}

function answer(poc: Poc, me: string, view: MessageView, told: (words: string) => void): void {
  const message = poc.message(view.id)
  message.acknowledge()
  if (view.type !== "notification") return
  message.respond({ disposition: "acting", note })
  told(`${me} (automatic) acknowledges and answers message ${view.id.slice(0, 8)} of ${view.from}`)
}

function attempt(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
  }
}
