/** RabbitMQ with durable queues, persistent messages, publisher confirms and acknowledgements. */
import { once } from "node:events"
import { spawn } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { connect } from "amqplib"
import { mailboxes, senders, type Carrier, type Load } from "./carrier.ts"
import { freePort, startTheirs, stop } from "./process.ts"

const prefetch = 256

export async function openRabbit(folder: string, load: Load): Promise<Carrier> {
  const [port, epmdPort, distPort] = [await freePort(), await freePort(), await freePort()]
  const config = join(folder, "rabbitmq.conf")
  writeFileSync(
    config,
    [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      "disk_free_limit.absolute = 50MB",
      "vm_memory_high_watermark.relative = 0.6",
      "queue_index_embed_msgs_below = 4096",
      "log.console = false",
      "log.file.level = error",
      "tcp_listen_options.nodelay = true",
      "",
    ].join("\n"),
  )
  writeFileSync(join(folder, "enabled_plugins"), "[].\n")
  mkdirSync(join(folder, "home"))
  const env = {
    HOME: join(folder, "home"),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_PORT: `${epmdPort}`,
    RABBITMQ_NODENAME: "valise-bench@localhost",
    RABBITMQ_DIST_PORT: `${distPort}`,
    RABBITMQ_CONFIG_FILE: config.replace(/\.conf$/, ""),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
    RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_PID_FILE: join(folder, "pid"),
  }
  const epmd = spawn("epmd", ["-address", "127.0.0.1", "-port", `${epmdPort}`], { stdio: "ignore" })
  await once(epmd, "spawn")
  const child = await startTheirs("/usr/lib/rabbitmq/bin/rabbitmq-server", [], port, env)

  const connections = await Promise.all(
    Array.from({ length: 2 * senders }, () => connect(`amqp://127.0.0.1:${port}`, { noDelay: true })),
  )
  const recipients = await Promise.all(connections.slice(senders).map((connection) => connection.createChannel()))
  for (const recipient of recipients) await recipient.prefetch(prefetch)
  for (let box = 0; box < mailboxes; box++) {
    const recipient = recipients[box % senders]!
    await recipient.assertQueue(`box-${box}`, { durable: true, arguments: { "x-queue-version": 2 } })
    await recipient.consume(`box-${box}`, (message) => {
      if (!message) throw new Error("RabbitMQ has ended a consumer")
      load.delivered(message.content)
      recipient.ack(message)
    })
  }
  const sending = await Promise.all(
    connections.slice(0, senders).map((connection) => connection.createConfirmChannel()),
  )
  return {
    name: "RabbitMQ",
    configuration: `RabbitMQ: ${mailboxes} durable classic queues (version 2), persistent messages, publisher confirms, acknowledgements, prefetch ${prefetch}, ${2 * senders} connections; it syncs`,
    send: ({ serial, mailbox, bytes }) => {
      sending[serial % senders]!.sendToQueue(`box-${mailbox}`, bytes, { persistent: true }, (error: unknown) => {
        if (error) throw new Error("RabbitMQ refuses a message", { cause: error })
        load.confirmed(serial)
      })
    },
    close: async () => {
      for (const connection of connections) await connection.close()
      await stop(child)
      await stop(epmd)
    },
  }
}
