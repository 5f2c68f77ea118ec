//! The network of a command: cards are up, and have the addresses from the kernel command line or a
//! DHCP server.

use std::fs;
use std::process::{Child, Command, Stdio};

use tests::files::Scratch;
use tests::{Launch, Network};

const HOST: &str = "192.168.78.1";

/// Creates a bridge br0 of the host, with an address.
fn bridge() -> Option<Network> {
    let network = Network::new()?;
    for words in [
        "link set lo up".to_string(),
        "link add br0 type bridge".into(),
        format!("address add {HOST}/24 dev br0"),
        "link set br0 up".into(),
    ] {
        network.ip(&words);
    }
    Some(network)
}

/// busybox' DHCP server on br0, which assigns one address. Dropping the value ends it.
struct Server(Child);

impl Server {
    fn start(scratch: &Scratch) -> Self {
        let leases = scratch.file("leases", "");
        let text = format!(
            "start 192.168.78.50\nend 192.168.78.50\ninterface br0\nlease_file {}\npidfile {}\n\
             option subnet 255.255.255.0\noption router {HOST}\noption dns 192.168.78.3\n\
             option domain example.org\n",
            leases.display(),
            scratch.path().join("pid").display()
        );
        let file = scratch.file("udhcpd.conf", text);
        let mut command = Command::new("busybox");
        command.args(["udhcpd", "-f"]).arg(file).stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn on_bridge(command: &str) -> Launch {
    // The card is the same each time, and the server keeps its only address for it.
    Launch::exec(command).option("--tunnet").option("bridge:br0:02:00:00:00:78:01")
}

const LOOK: &str = "ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4; ip route | head -n 1; \
                    cat /etc/resolv.conf; ping -c 1 -q 192.168.78.1 | grep -c ' 0% packet loss'";

#[test]
fn a_dhcp_server_gives_the_address() {
    let Some(_network) = bridge() else { return };
    let scratch = Scratch::new();
    let _server = Server::start(&scratch);
    for word in ["ip=dhcp", "ip=on", "ip=:::::eth0:dhcp"] {
        assert_eq!(
            on_bridge(LOOK).argument(word).done().well(),
            format!(
                "192.168.78.50/24\ndefault via {HOST} dev eth0 \n\
                 search example.org\nnameserver 192.168.78.3\n1\n"
            ),
            "{word}"
        );
    }
    let given = fs::metadata(scratch.path().join("leases")).is_ok();
    assert!(given);
}

#[test]
fn a_missing_dhcp_server_is_reported() {
    let Some(_network) = bridge() else { return };
    on_bridge("true")
        .argument("ip=dhcp")
        .done()
        .one_line(1, "ip=dhcp: no DHCP server answers on eth0");
    Launch::exec("true").argument("ip=dhcp").done().one_line(1, "the guest has no network card");
    let launch = on_bridge("true").argument("ip=:::::eth1:dhcp");
    launch.done().one_line(1, "the guest has no network card eth1");
}

/// A bridge defines no addresses: the card is up, and IPv6 works.
#[test]
fn a_card_without_an_address_is_up() {
    let Some(_network) = bridge() else { return };
    // The operational state follows the flag a moment later (linkwatch).
    let command = "ip -o link show eth0 | grep -c '[<,]UP[,>]'; ip -4 -o addr show eth0 | wc -l; \
                   ip -o link show lo | grep -c LOWER_UP; \
                   until grep -qx up /sys/class/net/eth0/operstate; do sleep 0.1; done";
    assert_eq!(on_bridge(command).done().well(), "1\n0\n1\n");
}
