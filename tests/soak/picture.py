"""Percentiles of a soak, and its picture: memory over time, latency by kind, refusals by reason."""

import numpy as np

RANKS = (50, 90, 99, 100)


def percentiles(outcomes):
    """{kind: {count, statuses, 50, 90, 99, 100}}; seconds of the answers of status 200, or of all if there is none."""
    rows = {}
    for kind in sorted({outcome.kind for outcome in outcomes}):
        these = [outcome for outcome in outcomes if outcome.kind == kind]
        statuses = [str(outcome.status) for outcome in these]
        timed = [outcome.seconds for outcome in these if outcome.status == 200] or [each.seconds for each in these]
        rows[kind] = {
            "count": len(these), "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
            "seconds": {str(rank): round(float(np.percentile(timed, rank)), 3) for rank in RANKS},
        }  # fmt: skip
    return rows


def draw(report, path):
    """Write the picture of a report."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (memory, latency, refusals) = pyplot.subplots(3, 1, figsize=(14, 12), layout="constrained")
    curve = report["curve"]
    memory.plot(curve["seconds"], np.array(curve["memory"]) / 1e6, label="memory of the server")
    memory.axhline(report["memory"]["before"] / 1e6, color="grey", linestyle=":", label="before, after the warm-up")
    memory.set(xlabel="seconds", ylabel="MB", ylim=(0, None))
    files = memory.twinx()
    files.plot(curve["seconds"], curve["files"], color="tab:orange", linewidth=0.8, label="open files and connections")
    files.set(ylabel="open files and connections", ylim=(0, 4 * max(curve["files"])))
    lines = [*memory.get_lines(), *files.get_lines()]
    memory.legend(lines, [line.get_label() for line in lines], loc="center")
    memory.set_title(f"{report['count']} requests, {len(report['faults'])} faults; load {report['load']:.1f} "
                     f"on {report['cores']} cores")  # fmt: skip
    kinds = report["kinds"]
    for number, rank in enumerate(RANKS):
        values = [max(row["seconds"][str(rank)], 1e-3) for row in kinds.values()]
        latency.bar(np.arange(len(kinds)) + 0.2 * (number - 1.5), values, 0.2,
                    label="slowest" if rank == 100 else f"percentile {rank}")  # fmt: skip
    labels = [f"{kind}\n" + "\n".join(f"{status}: {count}" for status, count in row["statuses"].items())
              for kind, row in kinds.items()]  # fmt: skip
    latency.set_xticks(range(len(kinds)), labels, fontsize=7)
    latency.set(yscale="log", ylabel="seconds")
    latency.legend()
    latency.set_title("time to the answer, by kind of request")
    reasons = dict(reversed(report["refusals"].items()))
    bars = refusals.barh(list(reasons), list(reasons.values()))
    refusals.bar_label(bars)
    refusals.tick_params(axis="y", labelsize=7)
    refusals.set_title("refusals by reason")
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
