"""The claims of scenarios, and running scenarios side by side."""

import pathlib
import signal
import sys
import threading
import time
import traceback

from cluster import Failed

began = time.time()
printing = threading.Lock()


def say(text):
    with printing:
        print(f"   {int(time.time() - began) // 60}:{int(time.time() - began) % 60:02d} {text}", flush=True)


class Claims:
    """A scenario. `checks` are the claims, with whether they hold."""

    def __init__(self, name, title):
        self.name, self.title = name, title
        self.checks, self.step = [], None

    def check(self, holds, claim, *facts):
        self.checks.append((bool(holds), claim))
        say(f"{self.name}: {'ok' if holds else 'FAILED'}: {claim}{': ' + '; '.join(map(str, facts)) if facts else ''}")

    def until(self, what, holds, seconds=120):
        """Waits until something holds."""
        self.step, start = what, time.time()
        while not holds():
            if time.time() > start + seconds:
                raise Failed(f"{what}: not within {seconds} s")
            time.sleep(0.5)


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def run(scenario, act, at_once):
    """Runs one scenario."""
    with at_once:
        scenario.step = "begun"
        try:
            act(scenario)
        except Exception as error:  # It ends this scenario alone.
            traceback.print_exc()
            scenario.check(False, f"{scenario.step}: {error}")
        say(f"{scenario.name}: done")
        scenario.step = None


def tick(scenarios, stopped):
    """Says every ten seconds what each scenario waits for."""
    while not stopped.wait(10):
        running = [f"{s.name}: {s.step}" for s in scenarios if s.step]
        if running:
            say("| " + " | ".join(running))


def run_all(plans, at_once):
    """Runs scenarios side by side, so many at once. A plan is a scenario with the function that runs it."""
    stopped, limit = threading.Event(), threading.Semaphore(at_once)
    threading.Thread(target=tick, args=([scenario for scenario, _ in plans], stopped), daemon=True).start()
    threads = [threading.Thread(target=run, args=(*plan, limit), daemon=True) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stopped.set()


def end_on_signal():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))


def ended(programs):
    """Returns what failed where a program has ended by itself."""
    return [f"{program.name} has ended" for program in programs if program.process.poll() is not None]


def report(scenarios, text, file, more):
    """Writes the tables, prints the claims that failed, and ends the process."""
    pathlib.Path(file).write_text(text, encoding="utf-8")
    print(f"\n{text}")
    failed = [f"{s.title}: {claim}" for s in scenarios for holds, claim in s.checks if not holds] + more
    print("\n".join(f"FAILED: {claim}" for claim in failed) or f"all {sum(len(s.checks) for s in scenarios)} claims hold")
    sys.exit(1 if failed else 0)
