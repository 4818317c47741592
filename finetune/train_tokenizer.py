"""Fine-tune the tokenizer on the prepared data; settings are in config.py beside this file.

python finetune/train_tokenizer.py
torchrun --standalone --nproc_per_node=4 finetune/train_tokenizer.py --set batch_size=32
"""

from config import Config

from kronos.cli.finetune import stage_command
from kronos.cli.settings import run_script

if __name__ == "__main__":
    run_script(stage_command("tokenizer"), Config())
