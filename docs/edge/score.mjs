// Grades finished prompts in Node.js:  node score.mjs judges/smollm2 "Is 7 a prime? Answer from 1 to 5."
import { readFileSync } from "node:fs";
import { dirname, basename, resolve } from "node:path";
import { AutoTokenizer, env } from "@huggingface/transformers";
import * as ort from "onnxruntime-node";

const [folder, ...prompts] = process.argv.slice(2);
const { chat } = JSON.parse(readFileSync(`${folder}/judge.json`, "utf8"));
env.allowRemoteModels = false;
env.localModelPath = dirname(resolve(folder));
const tokenizer = await AutoTokenizer.from_pretrained(basename(resolve(folder)));
const session = await ort.InferenceSession.create(`${folder}/model.onnx`, {
  logSeverityLevel: 3,
  extra: { session: { x64quantprecision: "1" } }, // exact products of an int8 judge on x86 without VNNI, too
});

for (const prompt of prompts) {
  const text = chat.before + prompt + chat.after + chat.answer_prefix;
  const ids = tokenizer.encode(text, { add_special_tokens: false });
  const row = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const { score, probabilities } = await session.run(
    { input_ids: row(ids), attention_mask: row(ids.map(() => 1)) },
    ["score", "probabilities"],
  );
  console.log(JSON.stringify({ score: score.data[0], probabilities: Array.from(probabilities.data) }));
}
