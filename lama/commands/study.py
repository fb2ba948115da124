"""Let people compare methods blindly, two results at a time; scores, agreement with metrics. More in docs/study.md.

lama study indir=EVALSET "methods={lama: RESULTS_A, telea: RESULTS_B}" out=STUDY    # then open http://127.0.0.1:7860
lama study out=STUDY port=7871                                  # go on with the study in this folder
lama study out=STUDY report=true                                # scores, intervals, wins, raters: STUDY/report.html
lama study out=STUDY report=true evaluations=[OUT_A,OUT_B]      # and how well each metric agrees with the people
"""

from typing import Any

from omegaconf import OmegaConf

from lama.config import build, flag, read

EXPECTED = "{NAME: FOLDER, NAME: FOLDER}"
REPORTED = ("out", "report", "evaluations", "plugins")  # keys of report=true


def main(arguments: list[str]) -> None:
    typed = next((text.partition("=")[2] for text in arguments if text.startswith("methods=")), "")
    if typed and not typed.startswith(("{", "$", "null")):  # before Hydra, which takes A,B for several runs
        raise ValueError(f"methods={typed}: expected methods={EXPECTED}")
    config = read(arguments, str(__doc__), "study", paths=("indir", "out"))
    plain: Any = OmegaConf.to_container(config, throw_on_missing=True)
    given = {argument.partition("=")[0] for argument in arguments if "=" in argument}
    if flag(config, "report"):
        odd = sorted(given - set(REPORTED))
        if odd:
            raise ValueError(f"{odd[0]}=: not used with report=true, which reads the study in out=")
        from lama.study.report import write_report

        print(write_report(str(plain["out"]), plain["evaluations"]))
        return
    if plain["evaluations"] is not None:
        raise ValueError("evaluations=: only with report=true")
    from lama.study.folder import stored_before

    stored = {key: value for key, value in stored_before(str(plain["out"])).items() if key not in given}
    plain |= stored
    config.question, config.seed = plain["question"], plain["seed"]
    if plain["indir"] is None or not isinstance(plain["methods"], dict):
        raise ValueError(f"expected indir= and methods={EXPECTED}, or report=true; got indir="
                         f"{plain['indir']} methods={plain['methods']}")  # fmt: skip
    methods = {str(name): str(folder) for name, folder in plain["methods"].items()}
    build(config.server, "")(str(plain["indir"]), methods, str(plain["out"]))
