"""Every operator has a case, and every form of a case computes the same thing."""

import importlib
import types

import pytest
import torch

from seqkit.bench.case import Setting
from seqkit.bench.cases import CASES, find_cases
from seqkit.bench.inputs import cast, widen
from seqkit.bench.peers.installed import PACKAGES, words_for_packages
from seqkit.bench.runner import Cell, Options, error_of, first_output, plan, step_of
from seqkit.kernels.explain import OPERATORS

FORMS = [(case.name, form.name) for case in CASES.values() for form in case.forms if form.same]


def tiny(case_name, place=0, dtype="float64"):
    case = CASES[case_name]
    setting = Setting(case.grid.tiny[place].sizes, dtype)
    return case, setting, cast(case.make(setting, torch.Generator().manual_seed(1)), dtype)


def test_every_operator_has_a_case():
    assert {case.operator for case in CASES.values()} >= set(OPERATORS)
    assert all(case.name == name for name, case in CASES.items())


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"`operator` must be one of .* did you mean vandermonde"):
        find_cases(["vandermond"])
    assert [case.name for case in find_cases()] == list(CASES)


@pytest.mark.parametrize(("case_name", "form_name"), FORMS)
@pytest.mark.parametrize("place", [0, -1], ids=["odd", "even"])
def test_form_computes_what_the_float64_reference_computes(case_name, form_name, place):
    case, setting, inputs = tiny(case_name, place)
    form = case.form(form_name)
    for backward in case.passes:
        reason = form.refuse(inputs, setting, backward)
        if reason is not None:
            pytest.skip(reason)
        with torch.set_grad_enabled(backward):
            output = first_output(step_of(form, inputs, Cell(case, setting, backward))())
        assert error_of(output, case, case.exact(widen(case.few(inputs)), setting)) < 1e-9
        assert output.dtype == torch.float64


@pytest.mark.parametrize("case_name", CASES)
def test_the_named_peer_is_one_of_the_forms_and_sources_are_said(case_name):
    case = CASES[case_name]
    names = [form.name for form in case.forms]
    assert case.against in names
    assert len(set(names)) == len(names)
    assert all(form.source for form in case.forms)
    assert any(form.own for form in case.forms)
    assert not case.form(case.against).own


@pytest.mark.parametrize("case_name", CASES)
def test_one_own_form_is_the_one_the_operator_chooses(case_name):
    case, setting, inputs = tiny(case_name, dtype="float32")
    chosen = [form.name for form in case.forms if form.chosen(inputs, setting)]
    assert chosen in (["cpu"], ["auto"])


@pytest.mark.parametrize("case_name", CASES)
def test_work_grows_with_the_backward_pass_and_the_sizes(case_name):
    case = CASES[case_name]
    small, large = (case.grid.full[place] for place in (0, -1))
    for setting in (small, large):
        forward, both = case.work(setting, False), case.work(setting, True)
        assert forward.products + forward.fft > 0
        assert forward.traffic > 0
        if True in case.passes:
            assert both.products + both.fft > forward.products + forward.fft
            assert both.traffic > forward.traffic
    assert case.work(large, False).traffic > case.work(small, False).traffic


@pytest.mark.parametrize("case_name", CASES)
def test_grids_have_the_sizes_that_are_drawn_over(case_name):
    case = CASES[case_name]
    for device in ("cpu", "cuda"):
        for level in ("tiny", "quick", "full"):
            settings = case.grid.at(level, device)
            assert settings
            assert all(setting[case.axis] > 0 for setting in settings)
            assert len({(setting.label, setting.dtype) for setting in settings}) == len(settings)


def test_wrong_level_is_refused():
    with pytest.raises(ValueError, match="`sizes` must be one of tiny, quick, full, got 'huge'"):
        plan(find_cases(["krylov"]), Options("huge"))


def test_the_memory_curve_ends_at_a_million_samples():
    curves = {name: [setting["L"] for setting in case.memory] for name, case in CASES.items() if case.operator != "S4D"}
    assert {name for name, lengths in curves.items() if lengths and lengths[-1] == 1048576} >= {
        *("vandermonde", "krylov", "cauchy", "long_conv", "ssm_scan", "legs_update", "lti_memory")
    }


def test_packages_that_are_missing_are_named():
    words = words_for_packages({package.name: False for package in PACKAGES})
    assert words == ["not installed: accelerated_scan, flashfftconv, mamba_ssm, fla, keras_lmu"]
    words = words_for_packages({package.name: True for package in PACKAGES})
    assert [line.split(" is not measured")[0] for line in words] == ["fla", "keras_lmu"]


def recurrence(u, A_bar, B_bar, C):
    """2 Re C x, a step a sample."""
    x, outputs = torch.zeros(u.shape[0], *A_bar.shape, dtype=A_bar.dtype), []
    for k in range(u.shape[-1]):
        x = A_bar * x + B_bar * u[..., k, None]
        outputs.append(2 * (C * x).sum(-1).real)
    return torch.stack(outputs, -1)


class FakeFlash:
    """Computes what FlashFFTConv says it does: a circular convolution of its size."""

    def __init__(self, size, dtype):
        self.size = size

    def to(self, device):
        return self

    def __call__(self, u, k):
        spectrum = torch.fft.rfft(u, n=self.size) * torch.fft.rfft(k, n=self.size)
        return torch.fft.irfft(spectrum, n=self.size)[..., : u.shape[-1]]


def accelerated(gates, tokens):
    """The documented meaning of accelerated_scan.warp.scan: x_l = gate_l x_(l-1) + token_l."""
    x, states = torch.zeros_like(tokens[..., 0]), []
    for k in range(tokens.shape[-1]):
        x = gates[..., k] * x + tokens[..., k]
        states.append(x)
    return torch.stack(states, -1)


def selective(u, delta, A, B, C):
    """The documented meaning of selective_scan_fn with constant complex A, B and C."""
    assert bool((delta == 1).all())
    return recurrence(u, A.exp(), B, C)


ADAPTERS = {
    ("long_conv", "flashfftconv"): ("flashfftconv", {"FlashFFTConv": FakeFlash}),
    ("first_order_scan", "accelerated_scan"): ("accelerated_scan.warp", {"scan": accelerated}),
    ("ssm_scan", "mamba_ssm"): ("mamba_ssm.ops.selective_scan_interface", {"selective_scan_fn": selective}),
}


@pytest.mark.parametrize("key", ADAPTERS, ids=lambda key: key[1])
def test_adapter_passes_what_the_package_documents(key, monkeypatch):
    case, setting, inputs = tiny(key[0])
    module, names = ADAPTERS[key]
    fake = types.SimpleNamespace(**names)
    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: fake if name == module else real(name))
    output = step_of(case.form(key[1]), inputs, Cell(case, setting, True))()
    assert error_of(output, case, case.exact(widen(case.few(inputs)), setting)) < 1e-9


def test_associative_scan_computes_the_recurrence():
    from seqkit.bench.peers.scans import associative

    _, _, inputs = tiny("first_order_scan")
    want = recurrence(inputs["u"], inputs["A"], inputs["B"], inputs["C"])
    torch.testing.assert_close(associative(**inputs), want)


def test_the_compiled_step_computes_the_eager_one():
    from seqkit.bench.peers.steps import eager_step, parts, real_step

    _, _, inputs = tiny("ssm_step")
    y, x = eager_step(**inputs)
    split = {name: parts(inputs[name]) for name in ("A", "B", "C")}
    got, real, imag = real_step(inputs["u"], **split, D=inputs["D"], x=parts(inputs["state"]))
    torch.testing.assert_close(got, y)
    torch.testing.assert_close(torch.complex(real, imag), x)
