"""The settings of fine-tuning and backtest: edit them here, or override them (``--set``, ``--yaml``, environment).

What each means, and further ones with their defaults: ``python finetune/qlib_data_preprocess.py --settings``.
"""

from __future__ import annotations

from typing import Any


class Config:
    """The documented settings of the four steps."""

    def __init__(self) -> None:
        # ---- data
        self.qlib_data_path = "~/.qlib/qlib_data/cn_data"
        self.instrument = "csi300"  # a file in the folder instruments of the data

        # What is loaded; a lookback before it and a horizon after it come on top.
        self.dataset_begin_time = "2011-01-01"
        self.dataset_end_time = "2025-06-05"

        self.lookback_window = 90
        self.predict_window = 10
        self.max_context = 512

        self.feature_list = ["open", "high", "low", "close", "vol", "amt"]
        self.time_feature_list = ["minute", "hour", "weekday", "day", "month"]

        # Validation and test may begin within a lookback of the end of the range before; their first target comes after it.
        self.train_time_range = ["2011-01-01", "2022-12-31"]
        self.val_time_range = ["2022-09-01", "2024-06-30"]
        self.test_time_range = ["2024-04-01", "2025-06-05"]
        self.backtest_time_range = ["2024-07-01", "2025-06-05"]

        self.dataset_path = "./data/processed_datasets"

        # ---- training
        self.clip = 5.0
        self.epochs = 30
        self.log_interval = 100
        self.batch_size = 50  # per device
        self.n_train_iter = 2000 * self.batch_size  # samples an epoch
        self.n_val_iter = 400 * self.batch_size

        self.tokenizer_learning_rate = 2e-4
        self.predictor_learning_rate = 1e-5  # of the last layers; layer_decay lowers it towards the input
        self.accumulation_steps = 1
        self.adam_beta1 = 0.9
        self.adam_beta2 = 0.95
        self.adam_weight_decay = 0.1
        self.seed = 100

        # ---- trackers
        self.use_comet = False
        self.comet_config: dict[str, Any] = {"api_key": "", "project_name": "Kronos-Finetune-Demo", "workspace": ""}
        self.comet_tag = "finetune_demo"
        self.comet_name = "finetune_demo"

        # ---- where things are
        self.save_path = "./outputs/models"
        self.tokenizer_save_folder_name = "finetune_tokenizer_demo"
        self.predictor_save_folder_name = "finetune_predictor_demo"
        self.backtest_save_folder_name = "finetune_backtest_demo"
        self.backtest_result_path = "./outputs/backtest_results"

        # A folder, a Hub id (NeoQuasar/Kronos-Tokenizer-base, NeoQuasar/Kronos-small), or a zoo name: nano, mini, small, base.
        self.pretrained_tokenizer_path = "nano"
        self.pretrained_predictor_path = "nano"
        self.finetuned_tokenizer_path = f"{self.save_path}/{self.tokenizer_save_folder_name}/checkpoints/best_model"
        self.finetuned_predictor_path = f"{self.save_path}/{self.predictor_save_folder_name}/checkpoints/best_model"

        # ---- backtest
        self.backtest_n_symbol_hold = 50
        self.backtest_n_symbol_drop = 5
        self.backtest_hold_thresh = 5
        # None: the temperature and top-p of the pretrained pair (the published scripts: 0.6 and 0.9).
        self.inference_T = None
        self.inference_top_p = None
        self.inference_top_k = 0
        self.inference_sample_count = 5
        self.backtest_batch_size = 1000
        # An instrument; empty: the index of the list where it is known (csi300: SH000300, ...), else the mean of the list.
        self.backtest_benchmark = ""
