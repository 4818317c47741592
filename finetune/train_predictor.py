"""Fine-tune the model on the tokens of the fine-tuned tokenizer, and compare it with what it was; settings are in config.py
beside this file.

    python finetune/train_predictor.py
    torchrun --standalone --nproc_per_node=4 finetune/train_predictor.py --set epochs=10
"""

from config import Config

from kronos.cli.finetune import stage_command
from kronos.cli.settings import run_script

if __name__ == "__main__":
    run_script(stage_command("predictor"), Config())
