"""Networks: iperf3 and ping between the guest and the nested host, over a tap of each launcher's own.

QEMU has vhost=off: the kernel's own vhost-net takes no part, as it takes none with lguest. All offloads that
both know are on, which is the default of either.
"""

import re
import subprocess
import time

import compare
import machines
import tools

# Bytes in the short and in the long run; pings.
STREAM = (8 << 20, 48 << 20)
PINGS = (20, 220)


# Whether Linux' driver requests an interrupt when a frame has been sent. By default it does, and lguest switches that
# off. These are the settings that differ from each launcher's default.
OTHERWISE = {"lguest": "virtio_net.napi_tx=1", "QEMU": "virtio_net.napi_tx=0"}


def address(number, words):
    """Returns the kernel argument of the guest on network N: the host has 192.168.N.1, the guest 192.168.N.2."""
    return f"ip=192.168.{number}.2::192.168.{number}.1:255.255.255.0::eth0:off {words}"


def lguest(number, words=""):
    card = f"tap:tap{number}:02:00:00:00:00:{number}"
    return machines.lguest("--tunnet", card, words=address(number, words))


def qemu(number, words=""):
    return machines.qemu("-netdev", f"tap,id=net,ifname=tap{number},script=no,downscript=no,vhost=off",
                         "-device", f"virtio-net-pci,netdev=net,mac=02:00:00:00:00:{number}",
                         words=address(number, words))


def launchers(otherwise=False):
    """Returns the launchers by name, with the numbers of their networks."""
    if otherwise:
        mine, its = OTHERWISE.values()
        return {(f"lguest, {mine}", 52): lguest(52, mine), (f"QEMU, {its}", 53): qemu(53, its)}
    return {("lguest", 50): lguest(50), ("QEMU", 51): qemu(51)}


def make_taps(numbers):
    """Sets up the networks so that they carry no other frames, and no ARP requests."""
    for number in numbers:
        for command in (f"ip tuntap add tap{number} mode tap vnet_hdr", f"ip link set tap{number} address 02:00:00:00:01:{number}",
                        f"sysctl -q net.ipv6.conf.tap{number}.disable_ipv6=1",
                        f"ip addr add 192.168.{number}.1/24 dev tap{number}", f"ip link set tap{number} up",
                        f"ip neigh replace 192.168.{number}.2 lladdr 02:00:00:00:00:{number} dev tap{number} nud permanent"):
            subprocess.run(command.split(), check=True)


def still(guest, number):
    """The guest's end of that."""
    guest.run(f"echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; arp -s 192.168.{number}.1 02:00:00:00:01:{number}")


def listens(number):
    """Whether a server waits for a connection on this network."""
    sockets = subprocess.run(["ss", "-Hltn", f"src 192.168.{number}.1:5201"], check=True, stdout=subprocess.PIPE)
    return bool(sockets.stdout)


def stream(guest, number, size, reverse):
    """Returns MB/s from the guest or (reverse) to it."""
    server = tools.run_here("/usr/bin/iperf3", "-s", "-1", "-B", f"192.168.{number}.1", stdout=subprocess.DEVNULL)
    while not listens(number):
        time.sleep(0.05)
    said = guest.run(f"/usr/bin/iperf3 -c 192.168.{number}.1 -n {size} -f m {'-R' if reverse else ''}")
    server.wait(timeout=60)
    bits = re.search(r"([\d.]+) Mbits/sec +receiver", said)
    return (float(bits[1]) / 8,)


def ping(number, count):
    """Returns the round trip from the host in µs."""
    said = subprocess.run(["ping", "-q", "-c", str(count), "-i", "0.01", f"192.168.{number}.2"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    if " 0% packet loss" not in said:
        raise RuntimeError(said)
    return (float(re.search(r"= [\d.]+/([\d.]+)/", said)[1]) * 1000,)


def measure():
    tools.for_guests()
    make_taps((50, 51, 52, 53))
    compared = launchers() | launchers(otherwise=True)
    jobs = {
        "TCP from the guest": ("MB/s", STREAM, lambda guest, number, amount: stream(guest, number, amount, False)),
        "TCP to the guest": ("MB/s", STREAM, lambda guest, number, amount: stream(guest, number, amount, True)),
        "ping, round trip": ("µs", PINGS, lambda guest, number, amount: ping(number, amount)),
    }
    for job, (unit, (little, much), work) in jobs.items():
        results = compare.in_turn(compared, work, little, much, prepare=still)
        yield f"| {job} | | CPU {'per ping' if unit == 'µs' else 'per MB'}: devices | vCPU | exits | to the launcher | system calls |"
        yield "|---|---|---|---|---|---|---|"
        base = results["QEMU", 51][0][0]
        for (name, _), ((value,), cost) in results.items():
            scale = 1 if unit == "µs" else 1e6
            yield f"| {name} | {value:.0f} {unit} ({value / base:.2f}) | {compare.cells(cost, scale)} |"
        yield ""
