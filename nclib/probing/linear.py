"""Linear probes of frozen features: logistic and ridge regression, with a penalty that is given or chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nclib.checks import check_whole
from nclib.metrics.statistics import ClassStatistics, class_statistics
from nclib.metrics.variability import check_statistics, total_scatter
from nclib.probing.logistic import LogisticFits, Solution
from nclib.probing.probe import Given, Probe, check_choice, held_out, like, positive_numbers, to_numpy
from nclib.probing.weights import ClassWeight

_CLOSE = 3  # the error of a rough fit, in samples: strengths that close to the best are fitted again
_HOPELESS = 2.5  # standard errors below the best accuracy at which larger strengths are not tried


@dataclass(frozen=True)
class LinearMap:
    """One or several linear maps of features: mean (d,), weight (..., K, d), bias (K,) and scale (d,)."""

    mean: Tensor
    weight: Tensor
    bias: Tensor
    scale: Tensor | float = 1.0

    def __call__(self, features: Tensor) -> Tensor:
        """Map features (N, d) to (..., N, K), in the weight's dtype."""
        scaled = ((features.double() - self.mean) / self.scale).to(self.weight)
        return scaled @ self.weight.mT + self.bias


class LinearProbe(Probe):
    """Multinomial logistic regression on standardised features, by L-BFGS on the features' device.

    Minimises sum of cross-entropies + ||W||^2 / (2 C) with a row of W for each class, as scikit-learn's
    LogisticRegression does for three classes or more on features of mean 0 and variance 1. (For two classes
    LogisticRegression keeps a single row, which is this with half of C.) Decisions are logits in `dtype`.
    `nclib.probing.logistic` describes the algorithm.

    Parameters
    ----------
    C
        Inverse strength of the penalty, positive. Given several, it fits each to a part of the samples, from the
        smallest on, until one is far less accurate on the rest than the best. The best (the smallest of equals) is
        fitted to all samples.
    standardise
        Whether every feature is divided by its standard deviation. Its mean is always subtracted, which changes only
        the bias.
    dtype
        "float32", or "float64", which is also fitted to more digits. The fit stops when a step is expected to lower
        the objective by a share of less than 1e-5 (float32) or 1e-12 (float64).
    max_iter
        The largest number of L-BFGS iterations, at least 1. A ConvergenceWarning says if the next one was expected to
        lower the objective by more than a thousandth.
    validation
        Share of each class, in (0, 1), held out to choose C; a class too small to split holds out none.
    seed
        Seed of the choice of those samples.
    class_weight
        Positive weights for the samples of each class: a dict by class (1 for a class not named), or "balanced", which
        gives every class the same total weight. None is 1 for each.

    Attributes
    ----------
    classes_
        The K classes in order, an array of the labels' dtype.
    C_, n_features_in_, n_iter_
        The inverse strength used, d, and the number of iterations.
    feature_names_in_
        The names of the columns, if it was fitted to a table with named columns.
    weight_, bias_, mean_, scale_
        (K, d) and (K,) in `dtype`, and float64 (d,) twice: logits are
        `((features - mean_) / scale_) @ weight_.T + bias_`.
    scores_
        Validation accuracies float64 (S,) of the values of C in the order given, NaN for those not tried; None if a
        single C was given.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    >>> LinearProbe().fit(features, ["a", "a", "b", "b"]).predict(torch.tensor([[0.5], [9.0]])).tolist()
    ['a', 'b']
    >>> LinearProbe(C=[0.01, 1, 100], validation=0.5).fit(features, ["a", "a", "b", "b"]).C_
    0.01

    It works like any scikit-learn estimator, and returns tensors for tensors and arrays for arrays:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> chain = make_pipeline(StandardScaler(), LinearProbe(class_weight="balanced"))
    >>> chain.fit(features.numpy(), [0, 0, 1, 1]).predict_proba(features.numpy()).shape
    (4, 2)
    >>> LinearProbe().fit(features, [0, 0, 1, 1]).decision_function(features).shape  # of the second class, of two
    torch.Size([4])
    """

    def __init__(
        self,
        C: float | Sequence[float] = 1.0,
        *,
        standardise: bool = True,
        dtype: Literal["float32", "float64"] = "float32",
        max_iter: int = 500,
        validation: float = 0.2,
        seed: int = 0,
        class_weight: ClassWeight = None,
    ):
        self.C = C
        self.standardise = standardise
        self.dtype = dtype
        self.max_iter = max_iter
        self.validation = validation
        self.seed = seed
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearProbe":
        """Fit to features X (N, d) with labels y (N,); returns the probe itself.

        Parameters
        ----------
        X
            A floating point tensor of 16 to 64 bits, which stays on its device, or an array or table of numbers.
        y
            Integers, booleans, texts, or whole floats; at least 2 classes.
        sample_weight
            Weights (N,), at least 0, of the cross-entropies and the means. A sample of weight 2 counts twice, and one
            of weight 0 is left out. None is 1 for each.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is NaN, infinite or missing, a label is not whole, a weight is negative,
            there is only one class, or a parameter is out of its range.
        TypeError
            If a tensor of features is not floating point, features are sparse, or labels mix texts and numbers.
        """
        strengths = positive_numbers("C", self.C)
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype is {self.dtype!r}; it must be 'float32' or 'float64'")
        if not isinstance(self.standardise, bool | np.bool_):
            raise ValueError(f"standardise is {self.standardise!r}; it must be True or False")
        check_whole(1, max_iter=self.max_iter)
        check_choice(self.validation, self.seed, name="validation")
        given = self._encode(X, y, sample_weight, self.class_weight)
        self.C_, self.scores_ = strengths[0], None
        if len(strengths) > 1:
            rising, places = np.unique(strengths, return_inverse=True)
            scores = self._validated(given, rising)
            self.C_, self.scores_ = float(rising[np.nanargmax(scores)]), scores[places]
        scaled, self.mean_, self.scale_ = self._standardised(given)
        self.weight_, self.bias_, self.n_iter_ = self._fits(given._replace(features=scaled)).fit(self.C_)
        return self

    def _decisions(self, features: Tensor) -> Tensor:
        return LinearMap(self.mean_, self.weight_, self.bias_, self.scale_)(features)

    def predict_proba(self, X: Any) -> Any:
        """The probability of every class, (N, K) in `dtype`: an array, or for a tensor a tensor on its device."""
        return like(X, self._decisions(self._check(X)).softmax(1))

    def _validated(self, given: Given, strengths: np.ndarray) -> np.ndarray:
        """Accuracies on the held-out samples, float64 (S,), of rising C; NaN from where a larger C cannot be best."""
        held = held_out(given.labels, self.validation, self.seed, name="validation")
        scaled, _, _ = self._standardised(given, ~held)
        given = given._replace(features=scaled)
        fits, (rest, wanted, weights) = self._fits(given.among(~held)), given.among(held)
        each = 1.0 if weights is None else to_numpy(weights / weights.mean())

        def right(found: Solution) -> np.ndarray:
            return to_numpy((rest @ found.weight.T + found.bias).argmax(1) == wanted)

        def number(which: np.ndarray) -> float:
            return (which * each).sum()

        numbers, best = np.full(len(strengths), np.nan), np.array(False)
        for place, C in enumerate(strengths):
            found = right(fits.rough(C))
            numbers[place] = number(found)
            best = found if number(found) > number(best) else best
            lost, won = number(best & ~found), number(found & ~best)
            if lost - won > _HOPELESS * (lost + won) ** 0.5:
                break
        close = np.flatnonzero(numbers >= number(best) - _CLOSE).tolist()
        for place in close if len(close) > 1 else ():
            numbers[place] = number(right(fits.fit(strengths[place])))
        return numbers / len(wanted)

    def _standardised(self, given: Given, among: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, d) standardised by the mean and deviation of the rows `among`; and these two, float64 (d,)."""
        weights = None if given.weights is None else given.weights[among]
        mean = _mean(given.features[among], weights)
        centred = given.features.double() - mean
        scale = _spread(centred[among], mean, weights) if self.standardise else torch.ones_like(mean)
        dtype = torch.promote_types(getattr(torch, self.dtype), torch.get_default_dtype())
        return centred.div_(scale).to(dtype), mean, scale

    def _fits(self, given: Given) -> LogisticFits:
        classes = len(self.classes_)
        return LogisticFits(given.features, given.labels, classes, max_iter=self.max_iter, weights=given.weights)


class RidgeProbe(Probe):
    """Ridge regression on targets of 1 for the class and -1 elsewhere, in closed form and float64.

    Minimises ||Y - X W^T - bias||^2 + alpha ||W||^2 as scikit-learn's RidgeClassifier does. Class statistics suffice
    to fit it. With fewer samples than features it solves an N x N system. Decisions are predicted targets, float64.

    Parameters
    ----------
    alpha
        Strength of the penalty, positive. Given several, it fits all of them at once to a part of the samples. The
        most accurate on the rest (the largest of equals) is fitted to all samples.
    validation, seed, class_weight
        As in `LinearProbe`.

    Attributes
    ----------
    classes_
        The K classes in order, an array of the labels' dtype.
    alpha_, n_features_in_
        The penalty used, and d.
    feature_names_in_
        The names of the columns, if it was fitted to a table with named columns.
    weight_, bias_, mean_
        Float64 (K, d), (K,) and (d,): decisions are `(features - mean_) @ weight_.T + bias_`.
    scores_
        Validation accuracies float64 (S,) of the penalties in the order given; None if a single one was given.

    Examples
    --------
    >>> features, labels = torch.tensor([[0.0], [1.0], [4.0], [5.0]]), torch.tensor([0, 0, 1, 1])
    >>> RidgeProbe().fit(features, labels).predict(torch.tensor([[0.5], [9.0]])).tolist()
    [0, 1]
    >>> from nclib import class_statistics
    >>> RidgeProbe().fit_statistics(class_statistics(features, labels)).score(features, labels)
    1.0
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 1.0,
        *,
        validation: float = 0.2,
        seed: int = 0,
        class_weight: ClassWeight = None,
    ):
        self.alpha = alpha
        self.validation = validation
        self.seed = seed
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RidgeProbe":
        """Fit to features X (N, d) with labels y (N,); parameters, result and errors as in `LinearProbe.fit`.

        Sample weights apply to the squared errors and the means.
        """
        alphas = positive_numbers("alpha", self.alpha)
        check_choice(self.validation, self.seed, name="validation")
        given = self._encode(X, y, sample_weight, self.class_weight)
        self.alpha_, self.scores_ = alphas[0], None
        if len(alphas) > 1:
            held = held_out(given.labels, self.validation, self.seed, name="validation")
            fits, (features, labels, weights) = self._fits(given.among(~held), alphas), given.among(held)
            right = (fits(features).argmax(2) == labels).double()
            self.scores_ = to_numpy(_mean(right.T, weights))
            self.alpha_ = max(zip(self.scores_, alphas, strict=True))[1]
        return self._keep(self._fits(given, [self.alpha_]))

    def fit_statistics(self, stats: ClassStatistics) -> "RidgeProbe":
        """Fit to class statistics with covariance="full", for a single alpha; returns itself, with classes 0..K-1."""
        check_statistics(stats)
        alphas = positive_numbers("alpha", self.alpha)
        if len(alphas) > 1:
            raise ValueError(
                f"alpha is {self.alpha}; class statistics take a single one, since choosing needs samples: use fit"
            )
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight is {self.class_weight}; class statistics take none, since their samples are summed: "
                "use fit"
            )
        if stats.covariance != "full":
            raise ValueError(f"a ridge probe needs statistics with covariance='full'; these have {stats.covariance!r}")
        if stats.num_classes < 2 or stats.unseen:
            raise ValueError(
                f"a probe needs at least 2 classes, all with samples; of {stats.num_classes} here, {len(stats.unseen)} "
                "without samples: see ClassStatistics.without_empty_classes"
            )
        self.classes_, self.n_features_in_ = np.arange(stats.num_classes), stats.num_features
        self.alpha_, self.scores_ = alphas[0], None
        return self._keep(fit_ridge_statistics(stats, alphas))

    def _decisions(self, features: Tensor) -> Tensor:
        """Predicted targets float64 (N, K), near 1 for the class and -1 elsewhere."""
        return LinearMap(self.mean_, self.weight_, self.bias_)(features)

    def _contrast(self, decisions: Tensor) -> Tensor:
        return super()._contrast(decisions) / 2  # the second class's target; the first class's is minus it

    def _fits(self, given: Given, alphas: Sequence[float]) -> LinearMap:
        return fit_ridge(given.features, given.labels, len(self.classes_), alphas, weights=given.weights)

    def _keep(self, fits: LinearMap) -> "RidgeProbe":
        """Store the fit of the single alpha."""
        self.mean_, (self.weight_,), self.bias_ = fits.mean, fits.weight, fits.bias
        return self


def _mean(rows: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of rows (N, d), weighted if there are weights (N,), float64 (d,)."""
    if weights is None:
        return rows.mean(0, dtype=torch.float64)
    return (rows.double() * weights.unsqueeze(1)).sum(0) / weights.sum()


def _spread(centred: Tensor, mean: Tensor, weights: Tensor | None) -> Tensor:
    """Standard deviations (d,) of centred features (N, d); 1 where they are only rounding errors of the mean."""
    spread = _mean(centred.square(), weights).sqrt()
    return spread.where(spread > 100 * torch.finfo(torch.float64).eps * mean.abs(), 1.0)


_LEAST_PIVOT = 1e-10  # the smallest ratio of squared pivots at which Cholesky factors are trusted


def fit_ridge(
    features: Tensor, labels: Tensor, num_classes: int, alphas: Sequence[float], *, weights: Tensor | None = None
) -> LinearMap:
    """The minimum of ||Y - (X - mean) W^T - bias||^2 + alpha ||W||^2, where Y is 1 for the class and -1 elsewhere.

    Features are (N, d), labels int64 (N,), and weights float64 (N,), of the squared errors. The fitted weight is
    float64 (S, K, d) for S penalties alpha. It solves a d x d system, or the N x N one if that is smaller.
    """
    if weights is None and len(features) >= features.shape[1]:
        return fit_ridge_statistics(class_statistics(features, labels, num_classes=num_classes), alphas)
    mean = _mean(features.double(), weights)
    centred = features.double() - mean
    total = len(labels) if weights is None else weights.sum()
    shares = labels.bincount(weights, minlength=num_classes).double() / total
    targets = 2 * (torch.nn.functional.one_hot(labels, num_classes) - shares)
    if weights is not None:  # weighting a squared error by w scales its row and target by sqrt(w)
        centred, targets = (part * weights.sqrt().unsqueeze(1) for part in (centred, targets))
    if len(centred) >= centred.shape[1]:
        return LinearMap(mean, _solve(centred.T @ centred, targets.T @ centred, alphas), 2 * shares - 1)
    return LinearMap(mean, _solve(centred @ centred.T, targets.T, alphas) @ centred, 2 * shares - 1)


def fit_ridge_statistics(stats: ClassStatistics, alphas: Sequence[float]) -> LinearMap:
    """`fit_ridge` from class statistics with covariance="full", which hold X^T X and X^T Y about the global mean."""
    targets = 2 * stats.counts.unsqueeze(1) * stats.centred_means
    return LinearMap(stats.global_mean, _solve(total_scatter(stats), targets, alphas), 2 * stats.shares - 1)


def _solve(gram: Tensor, targets: Tensor, alphas: Sequence[float]) -> Tensor:
    """targets (gram + alpha I)^-1 for gram (r, r), targets (K, r) in its range, and each alpha, (S, K, r)."""
    if len(alphas) == 1:
        factor, failed = torch.linalg.cholesky_ex(gram + alphas[0] * torch.eye(len(gram)).to(gram))
        pivots = factor.diagonal().square()
        if not failed and pivots.min() > _LEAST_PIVOT * pivots.max():
            return torch.cholesky_solve(targets.T, factor).T.unsqueeze(0)
    values, vectors = torch.linalg.eigh(gram)
    shrunk = 1 / (values.clamp(min=0) + torch.tensor(alphas).to(values).unsqueeze(1))
    rounding = len(gram) * torch.finfo(gram.dtype).eps * values[-1]  # below it, no sample has a component
    shrunk = shrunk.where(values > rounding, 0)
    return ((targets @ vectors) * shrunk.unsqueeze(1)) @ vectors.T


def probe_layer(features: Tensor, labels: Tensor, num_classes: int, *, C: float = 0.1) -> nn.Linear:
    """A linear layer fitted as a `LinearProbe` to features (N, d), on their device; zeros for empty classes."""
    probe = LinearProbe(C=C).fit(features, labels)
    layer = skip_init(nn.Linear, features.shape[1], num_classes, device=features.device)  # no random number is drawn
    weight = probe.weight_.double() / probe.scale_
    with torch.no_grad():
        for parameter, rows in ((layer.weight, weight), (layer.bias, probe.bias_ - weight @ probe.mean_)):
            parameter.zero_()
            parameter[probe.classes_] = rows.to(parameter)
    return layer
