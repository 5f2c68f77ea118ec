#!/usr/bin/python3
"""One ping as a picture: ping_picture.py TRACE SVG

TRACE is what `lguest --trace` wrote while the host pinged a guest over net0. Of the pings in it the one is
taken whose time in the launcher and the guest is the median. SVG shows the threads as lanes and the system
calls as numbered marks, with their microseconds from the moment when the frame was in the guest's memory.

The trail: `pings` finds them, `steps` says what the launcher did for one, `draw` makes the picture.
"""

import collections
import html
import json
import pathlib
import sys

# An ICMP echo of ping's 56 bytes: Ethernet, IP and ICMP headers, and the virtio header before them.
FRAME = 12 + 14 + 20 + 8 + 56

WIDTH, LEFT, RIGHT, TOP, LANE = 960, 120, 30, 64, 74
LANES = ("net0-rx", "guest", "net0-tx")
COLOURS = {"net0-rx": "#1f77b4", "net0-tx": "#d9600a", "guest": "#999999"}

Slice = collections.namedtuple("Slice", "name begin end bytes")
Step = collections.namedtuple("Step", "lane at end what")


def threads(trace):
    """Returns the events of each thread by its name, in the order of their ends."""
    names = {event["tid"]: event["args"]["name"] for event in trace if event["name"] == "thread_name"}
    events = collections.defaultdict(list)
    for event in trace:
        if event["ph"] in "Xi" and event["tid"] in names:
            begin, duration = event["ts"], event.get("dur", 0)
            size = max(event.get("args", {}).get(key, 0) for key in ("from_guest", "to_guest"))
            events[names[event["tid"]]].append(Slice(event["name"], begin, begin + duration, size))
    return {name: sorted(found, key=lambda event: event.end) for name, found in events.items()}


def first(events, names, after, before):
    """Returns the first of these events in this period, or None."""
    return next((event for event in events if event.name in names and after <= event.end <= before), None)


def pings(lanes):
    """Returns the slices of each ping."""
    receive, transmit = lanes["net0-rx"], lanes["net0-tx"]
    frames = [event for event in receive if event.name == "request" and event.bytes == FRAME]
    for frame, following in zip(frames, frames[1:]):
        until = following.end
        served = [event for event in receive if event.name == "serve" and frame.begin <= event.end <= frame.end][-1]
        asked = first(receive, ("interrupt",), frame.end, until)
        kick = first(transmit, ("kick",), frame.end, until)
        answer = kick and first(transmit, ("request",), kick.end, until)
        if not (asked and answer and answer.bytes == FRAME):
            continue
        sent = first(transmit, ("serve",), kick.end, until)
        told = first(transmit, ("interrupt", "no interrupt"), answer.end, until)
        yield served, asked, kick, sent, told


def steps(ping):
    """Returns the actions of the launcher, with the time in µs since the frame came."""
    served, asked, kick, sent, told = ping
    zero = served.end
    listed = [
        Step("net0-rx", served.end, served.end, f"readv(tap) returns: {FRAME} bytes are in the guest's memory"),
        Step("net0-rx", asked.begin, asked.end, "write(irqfd): the guest is interrupted"),
        Step("net0-tx", kick.end, kick.end, "read(doorbell) returns: the guest has put its answer into the ring"),
        Step("net0-tx", sent.begin, sent.end, f"writev(tap): {FRAME} bytes leave, from the guest's memory"),
    ]
    if told and told.name == "interrupt":
        listed.append(Step("net0-tx", told.begin, told.end, "write(irqfd): the guest had asked to hear that it is out"))
    return [step._replace(at=step.at - zero, end=step.end - zero) for step in listed]


def exits(lanes, ping):
    """Returns how often a vCPU left the guest during the ping."""
    begin, end = ping[0].end, ping[-1].end
    return sum(begin <= event.end <= end for name, events in lanes.items() if name.startswith("vcpu") for event in events)


def text(x, y, words, **attributes):
    listed = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{listed}>{html.escape(words)}</text>'


def bar(lane, begin, end, colour, scale, height=18):
    y = TOP + LANES.index(lane) * LANE + 40 - height / 2
    x, width = scale(begin), max(scale(end) - scale(begin), 2.5)
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def draw(listed, returns, where):
    last = listed[-1].end
    begin, end = -0.06 * last, 1.06 * last

    def scale(at):
        return LEFT + (at - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)

    bottom = TOP + len(LANES) * LANE
    height = bottom + 46 + 24 * (len(listed) + 1)
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="14">')
    yield "<title>One ping through a guest: the launcher's system calls</title>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    yield text(LEFT, 26, f"One ping: {len(listed)} system calls of the launcher, {returns} returns of a vCPU", font_size=17)
    yield text(LEFT, 46, where, fill="#666")
    for number, lane in enumerate(LANES):
        y = TOP + number * LANE + 45
        yield text(14, y, lane, font_weight="bold", fill=COLOURS[lane])
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y - 5}" y2="{y - 5}" stroke="#ddd"/>'
    asked, kick = listed[1], listed[2]
    # A thread sleeps in one call, and is awake afterwards.
    ends = {lane: [step for step in listed if step.lane == lane][-1].end for lane in ("net0-rx", "net0-tx")}
    for lane, woken in (("net0-rx", 0), ("net0-tx", kick.at)):
        for since, until in ((begin, woken), (ends[lane], end)):
            yield bar(lane, since, until, "#e8e8e8", scale, 10)
        yield bar(lane, woken, ends[lane], COLOURS[lane] + "55", scale, 10)
    yield sleeps("net0-rx", "readv(tap)", scale(end) - 8, "end")
    yield sleeps("net0-tx", "read(doorbell)", scale(begin) + 8, "start")
    yield bar("guest", asked.end, kick.at, "#bbb", scale, 10)
    middle = (scale(asked.end) + scale(kick.at)) / 2
    y = TOP + LANES.index("guest") * LANE
    yield text(middle, y + 28, f"the guest's own: {kick.at - asked.end:.0f} µs", text_anchor="middle", fill="#555")
    for (at, source), target in zip(((asked.end, "net0-rx"), (kick.at, "guest")), ("guest", "net0-tx")):
        x, top = scale(at), TOP + LANES.index(source) * LANE + 52
        down = TOP + LANES.index(target) * LANE + 28
        yield f'<path d="M{x:.1f} {top}V{down}m-4 -8l4 8l4 -8" stroke="#555" fill="none"/>'
    yield from marks(listed, scale)
    yield from axis(bottom, begin, end, scale)
    yield from table(listed, bottom + 62)
    yield "</svg>"


def sleeps(lane, call, x, anchor):
    return text(x, TOP + LANES.index(lane) * LANE + 28, f"asleep in {call}", text_anchor=anchor, fill="#888", font_size=12)


def marks(listed, scale):
    """Draws a number at each call. Numbers that would overlap are drawn beside each other."""
    free = {}
    for number, step in enumerate(listed, 1):
        y = TOP + LANES.index(step.lane) * LANE
        yield bar(step.lane, step.at, step.end, COLOURS[step.lane], scale)
        x = max(scale((step.at + step.end) / 2), free.get(step.lane, 0))
        free[step.lane] = x + 21
        yield f'<circle cx="{x:.1f}" cy="{y + 16}" r="9.5" fill="{COLOURS[step.lane]}"/>'
        yield text(x, y + 21, str(number), text_anchor="middle", fill="white", font_weight="bold", font_size=13)


def axis(bottom, begin, end, scale):
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10**9) if (end - begin) / step <= 12)
    yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}" stroke="#333"/>'
    at = 0
    while at <= end:
        yield f'<line x1="{scale(at):.1f}" x2="{scale(at):.1f}" y1="{bottom}" y2="{bottom + 5}" stroke="#333"/>'
        yield text(scale(at), bottom + 20, f"{at} µs", text_anchor="middle", font_size=12)
        at += step


def table(listed, y):
    for number, step in enumerate(listed, 1):
        lasts = f" ({step.end - step.at:.1f} µs)" if step.end > step.at else ""
        row = y + 24 * (number - 1)
        yield text(14, row, f"{number}", font_weight="bold", fill=COLOURS[step.lane])
        yield text(108, row, f"{step.at:.1f} µs", text_anchor="end")
        yield text(LEFT, row, step.lane, font_weight="bold", fill=COLOURS[step.lane])
        yield text(LEFT + 80, row, step.what + lasts)


def main():
    source, target, *where = sys.argv[1:]
    lanes = threads(json.loads(pathlib.Path(source).read_text()))
    found = sorted(pings(lanes), key=lambda ping: ping[-1].end - ping[0].end)
    if not found:
        sys.exit(f"{source}: there is no whole ping in it")
    ping = found[len(found) // 2]
    listed = steps(ping)
    pathlib.Path(target).write_text("\n".join(draw(listed, exits(lanes, ping), " ".join(where))) + "\n")
    for step in listed:
        print(f"{step.at:8.1f} µs  {step.lane}  {step.what}")
    print(f"{len(listed)} system calls, {exits(lanes, ping)} returns of a vCPU; the median of {len(found)} pings")


if __name__ == "__main__":
    main()
