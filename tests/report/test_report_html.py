"""The page: self-contained, readable in both schemes, complete, and safe with anything a diagnosis may hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
import sample_diagnosis

from traindx import report
from traindx.diagnosis import Diagnosis, Outcome, TreatmentResult, TrialTable
from traindx.evidence import InOrder, Picture
from traindx.finding import Finding, Severity, Standing, Verdict
from traindx.report import html
from traindx.report.pictures import arrays_of

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A strict reader: tags must nest, ids must be unique."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def having(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


@pytest.fixture
def page(sample: Diagnosis, directory: Path) -> Page:
    return Page(html.render(sample, arrays_of(directory, sample), root=directory))


def test_nothing_is_fetched_and_nothing_is_run(page: Page) -> None:
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all(source.startswith("data:image/png;base64,") for source in page.having("src"))
    assert all(target.startswith("#") for target in page.having("href"))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    style = files("traindx.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_minus_signs_are_real_but_code_stays_code() -> None:
    text = str(html.prose("from -5 to `clamp(x, -10)`, lr 1e-4, M-2 < 3"))
    assert text == "from −5 to <code>clamp(x, -10)</code>, lr 1e-4, M-2 &lt; 3"


def test_ids_are_unique_and_every_link_leads_somewhere(page: Page) -> None:
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in page.having("href")} <= set(ids)


def test_every_picture_and_plot_has_words(page: Page) -> None:
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 6
    assert all(image["alt"] for image in images)
    plots = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(plots) > 10
    assert all(plot["aria-label"] for plot in plots)


def test_verdict_line_picture_proof_and_remedy_come_in_that_order(page: Page) -> None:
    order = [
        "treating it improves psnr by 13.4 dB [12.0, 14.8]",
        "return nn.functional.interpolate(coarse, scale_factor= 4",
        "Central coronal slice after 150 steps",
        "change of psnr in dB",
        "only full-resolution-skip",
        "Give the network a full-resolution path from",
        "return (a * x_t - x0) / s",
        "What else was found",
        "Sampler does not invert",
        "No effect, and how we know",
        "In order",
        "Not examined",
        "traindx examine recipe:xray2ct",
    ]
    places = [page.words.find(text) for text in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_only_the_guilty_line_is_marked(sample: Diagnosis, directory: Path) -> None:
    text = html.render(sample.model_copy(update={"findings": sample.findings[:1]}), root=directory)
    marked = re.findall(r'<span class="at-fault"[^>]*><span class="n">(\d+)</span>', text)
    assert marked == [str(sample_diagnosis.GUILTY_LINE)]


def test_everything_in_the_diagnosis_is_on_the_page(page: Page, sample: Diagnosis) -> None:
    assert sample.trials is not None
    expected = [finding.code for finding in sample.findings]
    expected += [item.subject.split(" `")[0] for item in (*sample.healthy, *sample.not_examined)]
    expected += [arm.name for arm in sample.trials.arms] + [item.name for item in sample.trials.baselines]
    expected += [result.treatment for result in sample.trials.results]
    expected += [curve.caption for curve in sample.curves] + ["The fix"]
    assert [text for text in expected if text not in page.words] == []


def test_text_of_a_diagnosis_cannot_become_markup(directory: Path) -> None:
    evil = '<script>alert("1")</script><img src=http://x onerror=y>`<b>`'
    diagnosis = Diagnosis(
        case=evil,
        outcome=Outcome.FAULT_FOUND,
        errors=(evil,),
        findings=(
            Finding(
                code="S501",
                name=evil,
                message=evil,
                remedy=f"{evil}\n```before\n{evil}\n```",
                severity=Severity.MAJOR,
                standing=Standing.DEMONSTRATED,
                numbers={evil: evil},
            ),
        ),
        trials=TrialTable(metric=evil, results=(TreatmentResult(treatment=evil, title=evil, note=evil),)),
        healthy=(InOrder(subject=evil, detail=evil),),
        extras={"sections": [{"title": evil, "text": evil, "table": {"head": [evil], "rows": [[evil]]}}]},
    )
    page = Page(html.render(diagnosis))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert evil.replace("`", "") in page.words.replace("`", "")


def test_a_picture_whose_array_is_gone_says_so(sample: Diagnosis, directory: Path) -> None:
    (directory / "pictures" / "transfer.npy").unlink()
    page = Page(html.render(sample, arrays_of(directory, sample), root=directory))
    assert "The array of this picture could not be read" in page.words
    assert "Fine noise put into x_t , and what of it comes out" in page.words


def test_not_finite_pixels_are_told(page: Page) -> None:
    assert "40 pixels not finite, in magenta" in page.words


def test_a_source_that_is_gone_is_told(page: Page) -> None:
    assert "the file could not be read when this page was made" in page.words


def test_healthy_page_has_no_lead_and_claims_little() -> None:
    page = Page(html.render(Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, healthy=(InOrder(subject="schedule"),))))
    assert "No fault was shown: 1 check in order." in page.words
    assert "Effect of the fix" not in page.words


def test_a_page_with_a_symptom_does_not_look_like_health() -> None:
    found = Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, healthy=(InOrder(subject="schedule"),))
    ill = found.model_copy(update={"extras": {"symptoms": ["the loss ends at that of a guess"]}})
    assert '<header class="page healthy">' in html.render(found)
    assert '<header class="page unknown">' in html.render(ill)


def test_trials_without_a_guilty_finding_are_shown_too() -> None:
    table = TrialTable(metric="dice", results=(TreatmentResult(treatment="unclamp", verdict=Verdict.NO_EFFECT),))
    page = Page(html.render(Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, trials=table)))
    assert "What was tried" in page.words
    assert page.words.count("unclamp") == 2


def test_half_an_examination_still_makes_a_page(sample: Diagnosis, directory: Path) -> None:
    cut = sample.model_copy(
        update={
            "outcome": Outcome.NOT_ENOUGH_SEEN,
            "errors": ("case.py:7: the loader ended\n  do: pass a function",),
            "trials": None,
            "findings": sample.findings[-2:],
        }
    )
    page = Page(html.render(cut, arrays_of(directory, cut), root=directory))
    assert "not enough seen" in page.words
    assert "case.py:7: the loader ended" in page.words


def test_sections_that_do_not_fit_are_left_out() -> None:
    extras = {"sections": [{"title": "kept"}, {"titel": "lost"}, 3, {"title": "p", "pictures": ["no such picture"]}]}
    page = Page(html.render(Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, extras=extras)))
    assert "kept" in page.words
    assert "lost" not in page.words
    Page(html.render(Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, extras={"sections": "nonsense"})))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2, success criterion 1.4.3 asks for 4.5 for text)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_enough_in_both_schemes() -> None:
    style = files("traindx.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
    light, dark = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in style.split("@media")[:2]]
    assert luminance(light["paper"]) > 0.9
    assert luminance(dark["paper"]) < 0.02
    for scheme in (light, dark):
        text = ["ink", "soft", "proven", "demonstrated", "suspected", "refuted", "healthy", "unknown"]
        code = ["ink", "keyword", "string", "number", "comment"]
        pairs = [(name, under) for name in text for under in ("paper", "surface", "sunk")]
        pairs += [(name, under) for name in code for under in ("sunk", "fault-line")] + [("fault-edge", "fault-line")]
        weak = [pair for pair in pairs if contrast(scheme[pair[0]], scheme[pair[1]]) < 4.5]
        assert weak == []
        plots = [(f"s{index}", under) for index in range(5) for under in ("paper", "surface")]
        assert [pair for pair in plots if contrast(scheme[pair[0]], scheme[pair[1]]) < 3] == []


def test_files_appear_whole_and_are_the_same_twice(sample: Diagnosis, directory: Path) -> None:
    first = {kind: path.read_bytes() for kind, path in report.write(sample, directory, root=directory).items()}
    second = {kind: path.read_bytes() for kind, path in report.write(sample, directory, root=directory).items()}
    assert first == second
    assert {path.name for path in directory.iterdir() if path.is_file()} == {
        "diagnosis.json",
        "diagnosis.sarif",
        "evidence.jsonl",
        "model.py",
        "report.html",
        "report.md",
    }


def test_curve_and_picture_of_one_name_do_not_meet() -> None:
    picture = Picture(name="loss", caption="a picture")
    page = Page(html.render(Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, pictures=(picture,))))
    assert "a picture" in page.words
