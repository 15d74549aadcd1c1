"""Fine-tuning, from a linear probe over one layer with a skip connection to everything."""

import lazy_loader as _lazy_loader

_NAMES = {
    "files": ["load_tuned", "save_tuned"],
    "finetuning": ["Choice", "Tuning", "finetune", "finetune_best"],
    "methods": [
        "METHODS",
        "adapter_tuning",
        "bias_tuning",
        "full_tuning",
        "layer_tuning",
        "linear_probe",
        "lora_tuning",
        "skip_tuning",
        "trainable_share",
    ],
    "tuned": ["Tuned"],
}
__getattr__, __dir__, __all__ = _lazy_loader.attach(__name__, submod_attrs=_NAMES)
