from .complexity.bound import geometric_collapse as geometric_collapse, poincare_constant as poincare_constant
from .complexity.geometric import Complexity as Complexity, geometric_complexity as geometric_complexity
from .data.catalogue import load as load
from .data.images import ImageFiles as ImageFiles, ImageSet as ImageSet
from .data.kinds import labelled as labelled
from .data.scene_sets import Scenes as Scenes, scenes as scenes
from .data.text_sets import Texts as Texts, texts as texts
from .devices import resolve_device as resolve_device
from .estimates import Estimate as Estimate, rank_correlation as rank_correlation
from .experiments.claims import Claim as Claim, Verdict as Verdict, judge as judge
from .experiments.records import Records as Records
from .experiments.run import Run as Run, start as start
from .features.backbones import Backbone as Backbone
from .features.encoders import TextEncoder as TextEncoder
from .features.extraction import extract as extract, extract_layers as extract_layers
from .features.files import arrow_batches as arrow_batches, arrow_statistics as arrow_statistics
from .features.pixels import mean_iou as mean_iou, pixel_features as pixel_features
from .features.statistics import feature_statistics as feature_statistics
from .metrics.measurement import Measurement as Measurement, measure as measure
from .metrics.pairs import (
    cdnv as cdnv,
    cdnv_pairs as cdnv_pairs,
    directional_cdnv as directional_cdnv,
    directional_cdnv_pairs as directional_cdnv_pairs,
    directional_cdnv_pooled as directional_cdnv_pooled,
    overlap as overlap,
    overlap_pairs as overlap_pairs,
)
from .metrics.ranks import (
    alpha_req as alpha_req,
    class_ranks as class_ranks,
    effective_rank as effective_rank,
    lidar as lidar,
    rankme as rankme,
    stable_rank as stable_rank,
)
from .metrics.registry import METRICS as METRICS, Metric as Metric
from .metrics.similarity import cka as cka
from .metrics.simplex import (
    gnc2 as gnc2,
    gnc2_energy as gnc2_energy,
    nc2 as nc2,
    nc2_equiangularity as nc2_equiangularity,
    nc2_equinorm as nc2_equinorm,
    nc3 as nc3,
    nc4 as nc4,
    nc5 as nc5,
    unc3 as unc3,
)
from .metrics.statistics import ClassStatistics as ClassStatistics, class_statistics as class_statistics
from .metrics.variability import (
    between_spectrum as between_spectrum,
    cut_off as cut_off,
    nc1 as nc1,
    nc1_ratio as nc1_ratio,
    total_scatter as total_scatter,
    vci as vci,
)
from .models.names import model_names as model_names
from .models.networks import Network as Network, small_resnet as small_resnet, small_vgg as small_vgg
from .models.pretrained import backbone as backbone
from .models.recipes import Recipe as Recipe, train as train
from .models.text_encoders import (
    text_encoder as text_encoder,
    text_features as text_features,
    text_layers as text_layers,
)
from .peft.files import load_tuned as load_tuned, save_tuned as save_tuned
from .peft.finetuning import Choice as Choice, Tuning as Tuning, finetune as finetune, finetune_best as finetune_best
from .peft.methods import (
    adapter_tuning as adapter_tuning,
    bias_tuning as bias_tuning,
    full_tuning as full_tuning,
    layer_tuning as layer_tuning,
    layers as layers,
    linear_probe as linear_probe,
    lora_tuning as lora_tuning,
    norm_tuning as norm_tuning,
    skip_tuning as skip_tuning,
    trainable_share as trainable_share,
)
from .peft.tuned import Tuned as Tuned
from .probing.depth import layerwise as layerwise
from .probing.episodes import few_shot as few_shot
from .probing.linear import LinearProbe as LinearProbe, RidgeProbe as RidgeProbe
from .probing.nearest import KNN as KNN, NearestClassMean as NearestClassMean
from .transferability.class_scores import (
    class_fairness as class_fairness,
    face as face,
    gbc as gbc,
    h_score as h_score,
    logme as logme,
    over_models as over_models,
    variance_collapse as variance_collapse,
)
from .transferability.feature_scores import (
    energy as energy,
    h_score_shrunk as h_score_shrunk,
    lda_certainty as lda_certainty,
    logme_targets as logme_targets,
    ncti_parts as ncti_parts,
    pactran as pactran,
    probe_accuracy as probe_accuracy,
    sfda as sfda,
    transrate as transrate,
)
from .transferability.pair_scores import parc as parc, tmi as tmi
from .transferability.ranking import Ranking as Ranking, rank_models as rank_models
from .transferability.registry import OVER_MODELS as OVER_MODELS, SCORES as SCORES, score as score
from .transferability.source_scores import (
    leep as leep,
    nce as nce,
    nleep as nleep,
    pactran_dirichlet as pactran_dirichlet,
)

__version__: str
