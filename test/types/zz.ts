import { environment } from "drey";
const env = environment();
env.of(1).process<string>({
  count: 0,
  open(context) { this.count = context.subtask; },
  processElement(value, context, out) { this.count += value; out.collect(String(this.count)); },
});
env.of(1).keyBy((x) => x).process<string>({
  count: 0,
  processElement(value, context, out) { this.count += value; context.timers.registerEventTimeTimer(context.key); out.collect("a"); },
  onTimer(time, context, out) { out.collect(String(this.count)); },
});
