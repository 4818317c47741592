// Every word of the page, in both languages. {name} is filled in by t().

export const texts = {
  en: {
    skip: "To the chart", swapColours: "Red up, green down", theme: "Light or dark", retry: "Try again", close: "Close",
    chartTitle: "Chart", chartHelp: "Chart. Arrow keys move the crosshair from bar to bar, plus and minus zoom, 0 shows the forecast again, Escape takes the crosshair away.",
    history: "history", median: "median", truth: "what happened",
    dropHere: "Drop a file of bars here", chooseFile: "Choose a file", orSample: "or look at a sample:", sampleDaily: "Synthetic, daily", sampleMinutes: "Synthetic, 15 minutes",
    dropWhat: "CSV, TSV or Parquet with time, open, high, low, close and, if there are, volume and amount",
    now: "Now", toEnd: "Latest", settings: "Settings", forecast: "Forecast", horizon: "Horizon", lookback: "Lookback", paths: "Paths",
    model: "Model", calendar: "Calendar", learned: "learned from the bars", sampling: "Sampling", temperature: "Temperature",
    seed: "Seed", run: "Forecast", progress: "Progress", stop: "Stop", view: "View", showPaths: "sample paths",
    logScale: "log scale", showTruth: "what happened", data: "Data", symbol: "Symbol", reading: "Reading the file",
    zone: "Time zone", columns: "Columns", readAgain: "Read again", results: "What the paths say",
    scoreTitle: "Against what happened", tableTitle: "Close, bar by bar", sameElsewhere: "The same elsewhere",
    command: "Command line", copy: "Copy", copied: "Copied", auto: "auto",
    spans: "Span of time", ytd: "YTD", allBars: "All", priceScale: "Price scale", scalePrice: "Price", scaleLog: "Log scale", scalePercent: "% from now",
    shape: "Forecast as", shapeFan: "Fan", shapeCandles: "Median candles", averages: "Averages", pin: "Keep to compare", unpin: "Remove {name}",
    nowTyped: "Now, as a date", forget: "Forget this file", tokenWrong: "That token is wrong. Ask whoever runs the service.", enterToken: "Enter a token",
    short_open: "O", short_high: "H", short_low: "L", short_close: "C", short_volume: "V", more: "What is {name}?",
    calibration: "Paths are", calibrated: "calibrated", asDrawn: "as drawn by the model",
    coverage: "On {windows} held-out windows of its corpus, 80 % bands held {after} of the bars calibrated, {before} as drawn.",
    isCalibrated: "Paths calibrated ({name}).", isDrawn: "Paths as drawn by the model.", isDrawnOther: "Paths as drawn: the calibration was fitted for the model's own temperature and top-p.",
    rolling: "Rolling hold-out", rollingWhat: "Forecasts from many points before “now”, each scored against what came.", windows: "Windows", roll: "Score",
    rollingSaid: "{windows} windows, {bars} bars, {span}. Windows of one series do not speak for others.", reliability: "Share inside the band: meant (across), measured (up)",
    reliabilityDot: "{share} meant, {was} measured", closerThanLast: "Closer than “no change”", directionRight: "Direction right",
    tooFewWindows: "Only {count} windows of {horizon} bars fit before “now”; {least} are needed: take a shorter horizon or a later “now”.",
    helpProbUp: "The share of sample paths whose last close lies above the last known close.",
    helpVar: "Value at risk: in the worst 5 % of paths the loss until the end of the horizon is at least this share of the last close.",
    helpEs: "Expected shortfall: the mean loss over the worst 5 % of paths.",
    helpCrps: "Continuous ranked probability score, in prices: the distance between the forecast distribution and what came. Lower is better.",
    mapTitle: "Which column is which?", mapWhy: "{name} has no column whose name says what it holds for: {missing}.", mapNone: "(none)", mapGo: "Read the file so",
    calendarOther: "{code} (from the address)",
    pngTitle: "{name} · {model} · seed {seed} · from {time}", noToken: "This service asks for a token.",
    advice: "Forecasts are uncertain and no advice. Past patterns need not return.",
    tokenTitle: "This service asks for a token", token: "Token", go: "Go on",
    htmlFile: "HTML", saveHtml: "One page to pass on, which needs nothing else",
    timeframe: "Timeframe", asInFile: "as in the file", tf5min: "5 minutes", tf15min: "15 minutes", tf30min: "30 minutes", tf1h: "1 hour", tf4h: "4 hours", tf1d: "1 day", tf1w: "1 week",
    madeOf: "Made of", madeOfBars: "{count} bars", madeOfWhole: "{count} bars; the last, which is not complete, is left out",
    onlyAsRead: "# The command line takes bars as a file has them: give it a file of {timeframe} bars.",
    bars: "{count} bars", file: "File", rows: "Bars", span: "From, to", rhythm: "Rhythm", found: "Columns", cleaned: "Left out",
    shownLatest: "the latest {count} are used", readingFile: "Reading {name}…", waitingTurn: "waiting…", step: "{done} of {total}",
    faultsTitle: "{name} cannot be forecast from as it is", warningsTitle: "Worth a look",
    rowNumbered: "row {rows}", rowsNumbered: "rows {rows}", rowsMore: "rows {rows}, …", inColumns: "in {columns}",
    dropRows: "Leave faulty rows out, sort the rest", sortRows: "Sort by time", ignoreColumn: "Ignore {column}",
    probUp: "P(up)", expectedReturn: "Expected return", expectedRange: "Expected range", interval80: "80 % at the end",
    volatility: "Volatility", drawdown: "Drawdown", var95: "VaR 95 %", es95: "ES 95 %",
    mae: "Error (MAE)", maeLast: "“No change” errs", crps: "CRPS", inside: "Inside 80 %", direction: "Direction",
    right: "right", wrong: "wrong", countOf: "{count} of {total}",
    better: "The mean was closer than “nothing changes”.", worse: "“Nothing changes” would have been closer than the mean.",
    oneWindow: "One window proves nothing.", noVolume: "no volume", time: "Time", mean: "Mean", actual: "Actual",
    tooLarge: "The file is larger than the {most} MiB that this service takes. Send the latest rows.",
    gone: "The service cannot be reached. Is kronos serve still running? This page will say when it is back.",
    back: "The service is back.", cutOff: "The service stopped in the middle of the forecast.",
    failed: "Something went wrong: {detail}", needNumber: "{name} must be a number from {least} to {most}",
    nowAt: "{time}, bar {at} of {count}", tooFew: "too few bars before this point",
    onlyEnd: "# The command line forecasts from the end of a file (or with --holdout from {horizon} bars before it).",
    cutFirst: "# Save the first {now} bars as {file} first.", pathsLine: "{paths} paths, {model}, seed {seed}",
  },
  zh: {
    skip: "跳到图表", swapColours: "红涨绿跌", theme: "浅色或深色", retry: "重试", close: "关闭",
    chartTitle: "图表", chartHelp: "图表。方向键逐根移动十字线，加号和减号缩放，0 回到预测处，Esc 移除十字线。",
    history: "历史", median: "中位数", truth: "实际走势",
    dropHere: "把 K 线文件拖到这里", chooseFile: "选择文件", orSample: "或先看示例：", sampleDaily: "模拟数据（日线）", sampleMinutes: "模拟数据（15 分钟）",
    dropWhat: "CSV、TSV 或 Parquet，含时间、开盘、最高、最低、收盘，可含成交量和成交额",
    now: "当前", toEnd: "最新", settings: "设置", forecast: "预测", horizon: "预测根数", lookback: "回看根数", paths: "路径数",
    model: "模型", calendar: "交易日历", learned: "由数据推断", sampling: "采样", temperature: "温度",
    seed: "随机种子", run: "开始预测", progress: "进度", stop: "停止", view: "显示", showPaths: "样本路径",
    logScale: "对数坐标", showTruth: "实际走势", data: "数据", symbol: "代码", reading: "读取方式",
    zone: "时区", columns: "列", readAgain: "重新读取", results: "路径给出的结论",
    scoreTitle: "与实际走势对比", tableTitle: "收盘价，逐根", sameElsewhere: "在别处得到同样的结果",
    command: "命令行", copy: "复制", copied: "已复制", auto: "自动",
    spans: "时间跨度", ytd: "年初至今", allBars: "全部", priceScale: "价格坐标", scalePrice: "价格", scaleLog: "对数坐标", scalePercent: "相对当前 %",
    shape: "预测画法", shapeFan: "扇形", shapeCandles: "中位数 K 线", averages: "均线", pin: "保留以对比", unpin: "移除 {name}",
    nowTyped: "当前（日期）", forget: "忘记此文件", tokenWrong: "令牌不正确。请向服务的管理者询问。", enterToken: "输入令牌",
    short_open: "开", short_high: "高", short_low: "低", short_close: "收", short_volume: "量", more: "{name}是什么？",
    calibration: "路径", calibrated: "校准后", asDrawn: "模型原样",
    coverage: "在其语料的 {windows} 个留出窗口上，80 % 区间覆盖了 {after} 的 K 线（校准后），原样为 {before}。",
    isCalibrated: "路径已校准（模型自带的校准）。", isDrawn: "路径为模型原样。", isDrawnOther: "路径为模型原样：校准只适用于模型自身的温度和 top-p。",
    rolling: "滚动留出检验", rollingWhat: "从“当前”之前的多个时点预测，并与其后的实际走势逐一评分。", windows: "窗口数", roll: "评分",
    rollingSaid: "{windows} 个窗口，{bars} 根 K 线，{span}。单一序列的窗口不能代表其他序列。", reliability: "落入区间的比例：名义（横轴）与实测（纵轴）",
    reliabilityDot: "名义 {share}，实测 {was}", closerThanLast: "比“价格不变”更近", directionRight: "方向正确",
    tooFewWindows: "“当前”之前只容得下 {count} 个 {horizon} 根的窗口，至少需要 {least} 个：请减少预测根数或后移“当前”。",
    helpProbUp: "样本路径中，期末收盘价高于最后已知收盘价的比例。",
    helpVar: "在险价值：最差的 5 % 路径中，到期末的亏损至少为最后收盘价的这一比例。",
    helpEs: "预期损失：最差的 5 % 路径的平均亏损。",
    helpCrps: "连续分级概率评分，以价格计：预测分布与实际走势的距离，越小越好。",
    mapTitle: "各列分别是什么？", mapWhy: "{name} 中没有列名能说明：{missing}。", mapNone: "（无）", mapGo: "按此读取",
    calendarOther: "{code}（来自网址）",
    pngTitle: "{name} · {model} · 种子 {seed} · 起点 {time}", noToken: "此服务需要令牌。",
    advice: "预测具有不确定性，不构成任何投资建议。过去的形态未必重现。",
    tokenTitle: "此服务需要令牌", token: "令牌", go: "继续",
    htmlFile: "网页", saveHtml: "单个网页文件，可独立打开、转发",
    timeframe: "周期", asInFile: "与文件相同", tf5min: "5 分钟", tf15min: "15 分钟", tf30min: "30 分钟", tf1h: "1 小时", tf4h: "4 小时", tf1d: "1 日", tf1w: "1 周",
    madeOf: "合成自", madeOfBars: "{count} 根", madeOfWhole: "{count} 根；最后一根不完整，已略去",
    onlyAsRead: "# 命令行按文件原有的周期读取：请给它 {timeframe} 的文件。",
    bars: "{count} 根", file: "文件", rows: "K 线", span: "起止", rhythm: "节奏", found: "列", cleaned: "剔除",
    shownLatest: "使用最近 {count} 根", readingFile: "正在读取 {name}…", waitingTurn: "排队中…", step: "{done} / {total}",
    faultsTitle: "{name} 暂时无法用于预测", warningsTitle: "请留意",
    rowNumbered: "第 {rows} 行", rowsNumbered: "第 {rows} 行", rowsMore: "第 {rows} … 行", inColumns: "列 {columns}",
    dropRows: "剔除错误行并排序", sortRows: "按时间排序", ignoreColumn: "忽略 {column}",
    probUp: "上涨概率", expectedReturn: "预期收益", expectedRange: "预期区间", interval80: "期末 80 % 区间",
    volatility: "波动率", drawdown: "回撤", var95: "VaR 95 %", es95: "ES 95 %",
    mae: "误差 (MAE)", maeLast: "“价格不变”的误差", crps: "CRPS", inside: "落入 80 % 区间", direction: "方向",
    right: "正确", wrong: "错误", countOf: "{count} / {total}",
    better: "均值比“价格不变”更接近实际。", worse: "“价格不变”比均值更接近实际。",
    oneWindow: "单个窗口说明不了什么。", noVolume: "无成交量", time: "时间", mean: "均值", actual: "实际",
    tooLarge: "文件超过本服务允许的 {most} MiB，请只发送最近的行。",
    gone: "无法连接服务。kronos serve 还在运行吗？恢复后页面会提示。",
    back: "服务已恢复。", cutOff: "服务在预测途中停止了。",
    failed: "出错了：{detail}", needNumber: "{name}应为 {least} 到 {most} 之间的数",
    nowAt: "{time}，第 {at} / {count} 根", tooFew: "此前的 K 线太少",
    onlyEnd: "# 命令行从文件末尾开始预测（加 --holdout 则从末尾前 {horizon} 根开始）。",
    cutFirst: "# 先把前 {now} 根另存为 {file}。", pathsLine: "{paths} 条路径，{model}，种子 {seed}",
  },
};

// What the service says in fixed words, for readers of Chinese.
export const faultKinds = {
  "missing value": "缺失值", "infinite value": "无穷值", "non-positive price": "价格不大于零", "high below low": "最高低于最低",
  "negative volume or amount": "成交量或成交额为负", "candle out of range": "开盘或收盘超出最高最低", "empty column": "整列为空",
  "missing timestamp": "缺少时间", "duplicate timestamp": "时间重复", "unsorted timestamp": "时间未排序", "too few rows": "行数太少",
};

export const roles = {
  timestamps: "时间", date: "日期", time: "时间", open: "开盘", high: "最高", low: "最低", close: "收盘", volume: "成交量",
  tick_volume: "跳动量", amount: "成交额", symbol: "代码",
};

// The sentence of describe_calendar has a fixed grammar; each piece is put into Chinese, what is not known stays as it is.
const days = { Monday: "周一", Tuesday: "周二", Wednesday: "周三", Thursday: "周四", Friday: "周五", Saturday: "周六", Sunday: "周日" };
const rhythmWords = [
  [/(\d+)-minute bars/g, "$1 分钟线"], [/(\d+)-hour bars/g, "$1 小时线"], [/(\d+)-day bars/g, "$1 日线"],
  [/([\d.]+)-second bars/g, "$1 秒线"], [/daily bars/g, "日线"], [/weekly bars/g, "周线"], [/monthly bars/g, "月线"],
  [/quarterly bars/g, "季线"], [/yearly bars/g, "年线"], [/(\d+) a day/g, "每天 $1 根"], [/evenly spaced/g, "等间隔"],
  [/around the clock/g, "全天"], [/every day/g, "每天"], [/with pauses/g, "有间歇"], [/calendar /g, "日历 "],
  [/(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day/g, (word) => days[word]], [/ to /g, "至"], [/ and /g, " 和 "], [/, /g, "，"],
];

export function rhythmInChinese(sentence) {
  return rhythmWords.reduce((text, [pattern, word]) => text.replace(pattern, word), sentence);
}

// "kept 198 of 201 rows; dropped ..." of a cleaning.
const cleaningWords = [
  [/kept ([\d,]+) of ([\d,]+) rows/g, "保留 $2 行中的 $1 行"], [/clean="(?:drop|sort|split)"[^:]*: /g, ""], [/left out/g, "剔除"],
  [/exact duplicates dropped/g, "完全重复的行已剔除"], [/moved/g, "移动"], [/rows?/g, "行"],
  ...Object.entries(faultKinds).map(([kind, word]) => [new RegExp(kind, "g"), word]), [/ and /g, " 和 "], [/; /g, "；"], [/, /g, "，"],
];

export const cleaningInChinese = (sentence) => cleaningWords.reduce((text, [pattern, word]) => text.replaceAll(pattern, word), sentence);

// Exchange calendars to choose from, in both languages; the library knows more.
export const calendars = [
  ["XNYS", "New York (NYSE, NASDAQ)", "纽约"], ["XTSE", "Toronto", "多伦多"], ["XSHG", "Shanghai", "上海"], ["XSHE", "Shenzhen", "深圳"],
  ["XHKG", "Hong Kong", "香港"], ["XTAI", "Taipei", "台北"], ["XTKS", "Tokyo", "东京"], ["XKRX", "Seoul", "首尔"], ["XBOM", "Mumbai", "孟买"],
  ["XSES", "Singapore", "新加坡"], ["XASX", "Sydney", "悉尼"], ["XLON", "London", "伦敦"], ["XETR", "Frankfurt (Xetra)", "法兰克福"],
  ["XPAR", "Paris", "巴黎"], ["XAMS", "Amsterdam", "阿姆斯特丹"], ["XSWX", "Zurich", "苏黎世"], ["BVMF", "São Paulo", "圣保罗"],
  ["CMES", "Chicago futures (CME)", "芝加哥期货"], ["fx", "Foreign exchange", "外汇"], ["24/5", "Weekdays around the clock", "周一至周五全天"],
  ["24/7", "Always open (crypto)", "全年无休（加密货币）"],
];
