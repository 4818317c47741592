// What went wrong, in the reader's language. The service speaks English; what it says is put into Chinese where its form is known.
import { currentLanguage, roleName } from "./i18n.js";

// Names of problems, as in "type": "urn:kronos:queue-full".
const byCode = {
  "queue-full": "服务正忙，请稍后重试。", deadline: "未能在规定时间内完成：请减少路径数或预测根数。", stopping: "服务正在停止。",
  internal: "服务器内部出错，原因见其日志。", "too-many-rows": "文件的行数超过本服务的上限，请只发送最近的行。", "too-many-columns": "文件的列数超过本服务的上限，请只发送一个序列的列。", "too-large": "内容超过本服务的上限。",
  "faulty-bars": "数据有错误。", "unknown-model": "本服务没有这个模型。", "beyond-limits": "请求超过本服务的上限。",
};

const byForm = [
  [/no column for ([\w, ]+?) among (.*?); (?:map it|say which|a table).*/s, (_, missing, names) => `没有找到列：${missing.split(", ").map(roleName).join("、")}。文件中的列：${names}`],
  [/(\w+) is ([\d.,]+); at most ([\d.,]+) is allowed.*/s, (_, name, value, most) => `${name} 为 ${value}，最多允许 ${most}。`],
  [/.*bars to generate; at most ([\d,]+) are allowed.*/s, (_, most) => `要生成的 K 线太多，一次最多 ${most} 根：请减少路径数或预测根数。`],
  [/.*"timeframe": "([^"]+)".*(?:already|no multiple|fewer than two).*/s, (_, name) => `无法由这些 K 线合成 ${name} 周期：请选择更长（或能整除）的周期，或“与文件相同”。`],
  [/.*is empty.*/s, () => "文件是空的。"],
  [/.*(?:too few|at least) .*?(\d+).*/s, (all) => `K 线太少。服务的说明（英文）：${all}`],
];

export function problemText(problem) {
  const detail = problem.detail ?? "";
  if (currentLanguage() !== "zh" || !/[A-Za-z]{3,} [A-Za-z]{2,}/.test(detail)) return detail;
  for (const [form, say] of byForm) {
    const found = form.exec(detail);
    if (found) return say(...found);
  }
  const known = byCode[(problem.type ?? "").replace("urn:kronos:", "")];
  return known ? known : `请求无法执行。服务的说明（英文）：${detail}`;
}
