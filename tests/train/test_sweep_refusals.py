"""What a sweep refuses before any training."""

import pytest

from curate.configfile import load_project
from schemas.errors import ConfigError, UserError
from schemas.verdict import Outcome
from tests.toy_sweep import config_of, gated
from train.monitor import SilentView
from train.sweep import sweep


@pytest.mark.usefixtures("no_weights")
class TestRefusedBeforeAnyTraining:
    def test_a_space_with_faults_names_all_of_them(self, toy):
        space = {
            "learning_rate": {"low": -1.0, "high": 1e-3},
            "lora.r": {"choices": [4, 0, "many"]},
            "seed": {"choices": [1, 2]},
            "lora.target_modules": {"low": 1, "high": 2},
            "epochs": {"choices": [1, 1]},
        }
        with pytest.raises(ConfigError) as caught:
            load_project(config_of(toy, space=space))
        (problem,) = caught.value.problems
        for said in ("`learning_rate` cannot be -1.0", "`lora.r` cannot be 0", "`lora.r` cannot be 'many'"):
            assert said in problem.expected
        assert "`seed` cannot be varied" in problem.expected
        assert "`lora.target_modules` is no number" in problem.expected
        assert "`epochs` has a choice twice" in problem.expected

    @pytest.mark.parametrize(
        "setting", [{}, {"low": 1}, {"choices": [1], "low": 1, "high": 2}, {"low": 2, "high": 1}, {"choices": []}]
    )
    def test_a_setting_that_is_no_list_and_no_range(self, toy, setting):
        with pytest.raises(ConfigError, match="not valid"):
            load_project(config_of(toy, space={"epochs": setting}))

    def test_corners_that_do_not_suit_the_model(self, toy):
        space = {
            "lora.last_layers": {"choices": [1, 9]},
            "lora.target_modules": {"choices": [["q_proj"], ["c_attn"]]},
        }
        with pytest.raises(ConfigError) as caught:
            sweep(load_project(config_of(toy, space=space)), gated(toy), SilentView)
        assert [problem.where for problem in caught.value.problems] == [
            "train.lora.target_modules",
            "train.lora.last_layers",
        ]

    def test_a_method_without_a_validation_loss_of_tokens(self, toy):
        path = config_of(toy, {"method": "dpo", "watch": {"rows": 0}})
        with pytest.raises(ConfigError) as caught:
            sweep(load_project(path), gated(toy), SilentView)
        assert [problem.found for problem in caught.value.problems] == ["dpo", "0"]

    def test_adapter_settings_of_a_method_without_adapter(self, toy):
        with pytest.raises(ConfigError, match="no adapter"):
            sweep(load_project(config_of(toy, {"method": "full"})), gated(toy), SilentView)

    def test_a_dataset_without_validation_rows(self, toy):
        with pytest.raises(UserError, match="nothing to choose by"):
            sweep(load_project(config_of(toy)), gated(toy, validation=[]), SilentView)
        assert not (toy.root / "runs" / "sweep").exists()

    def test_data_that_did_not_pass_its_gate(self, toy):
        dataset = toy.dataset()
        toy.verdict(dataset, Outcome.FAIL)
        with pytest.raises(UserError, match="has not passed the data gate"):
            sweep(load_project(config_of(toy)), dataset.path, SilentView)
