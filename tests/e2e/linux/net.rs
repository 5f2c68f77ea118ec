//! Network cards, seen from both ends.

mod calls;
mod faults;
mod forwarding;
mod lifetime;
mod picture;
mod refusals;
mod taps;
mod traffic;

use tests::{Guest, Launch, Network};

/// The host's address, and the address that the guest gets with it.
pub(super) const HOST: &str = "192.168.19.1";
pub(super) const GUEST: &str = "192.168.19.2";

/// Creates a network, and boots a guest in it with a card for this --tunnet.
fn boot(tunnet: &str) -> Option<(Network, Guest)> {
    let network = Network::new()?;
    let guest = Guest::of(card(tunnet).on_terminal());
    Some((network, guest))
}

fn card(tunnet: &str) -> Launch {
    Launch::linux().option("--tunnet").option(tunnet)
}

/// Waits until the guest's link has this state: 1 up, 0 down.
fn expect_carrier(guest: &mut Guest, carrier: &str) {
    tests::until(&format!("the guest's carrier is {carrier}"), || {
        (guest.run("cat /sys/class/net/eth0/carrier") == carrier).then_some(())
    });
}

/// Returns how many queues of the tap are enabled and disabled.
pub(super) fn queues(network: &Network) -> String {
    let said = network.ip("-details link show dev lg0");
    let words: Vec<_> = said.split_whitespace().collect();
    let after = |name: &str| *words.iter().skip_while(|word| **word != name).nth(1).unwrap();
    format!("{} and {}", after("numqueues"), after("numdisabled"))
}
