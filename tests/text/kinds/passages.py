"""The text that every kind of tokenizer is tried on, a passage for each thing that goes wrong in texts."""

from __future__ import annotations

PASSAGES = (
    "The ferry left at 7:45, didn't it? We'll see — it's never on time.",
    "渡船七点四十五分离开了码头，对吗？等一等，它从来不准时。",
    "渡し船は７時４５分に出た。ﾊﾝｶｸ カタカナ；Ｆｕｌｌ ｗｉｄｔｈ！",
    "def fib(n: int) -> int:\n    return n if n < 2 else fib(n - 1) + fib(n - 2)  # O(φⁿ)\n\n\n",
    "for (int i = 0; i < 10; ++i) {\n\tsum += a[i]*b[i];\n\t\tif (!ok)\r\n\treturn -1;\n}",
    "Emoji: 😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇨🇳🇩🇪 1️⃣ ❤️",
    "0 12 345 6789 3.14159 1,000,000 ½ ² Ⅷ ٣٤ ४२",
    "café cafe\u0301 naïve na\u0131\u0308ve Å A\u030a ﬁ ﬂ Zürich Straße İstanbul ŁÓDŹ",
    "Привет, мир! Γειά σου. مرحبا بالعالم שלום नमस्ते สวัสดี 안녕하세요",
    "lone \ufffd mark, \u200bzero width\u200d, \u00a0no-break, \u2028line, \ufeffBOM, \x07bell",
    "<s>special</s> <unk> <pad> [CLS] [SEP] [MASK] <|endoftext|> <|im_start|>user<|im_end|> [INST] <n> <0x41>",
    "  two spaces before,   three inside, and after  ",
    " one space",
    "tabs\t\tand\n\n\nlines \n of \r\n all kinds",
    "▁ a lower one eighth block ▁▁ twice",
    "philosophy and people; sop eop [gMASK] sMASK",
    "",
    " ",
    "\n",
    "a",
)
TEXT = "\n".join(PASSAGES)
CORPUS = [*PASSAGES[:10], "hello world, the time of the town and the tower, it is what it was"] * 3
EVERY = (*PASSAGES, TEXT)
