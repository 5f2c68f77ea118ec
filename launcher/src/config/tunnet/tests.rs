//! Tests of what --tunnet takes.

use super::*;

fn network(address: [u8; 4], length: u8) -> TapBackend {
    TapBackend::Address(Ipv4Network { address: address.into(), length })
}

#[test]
fn addresses_are_parsed() {
    let tunnet = |tap, mac, queues| Ok(Tunnet { tap, mac, queues });
    let host = network([192, 168, 19, 1], 24);
    assert_eq!(parse("192.168.19.1"), tunnet(host, None, 1));
    let mac = Some([2, 0, 0, 0x12, 0xab, 0xCD]);
    assert_eq!(
        parse("10.1.2.3/8:02:00:00:12:ab:CD,queues=4"),
        tunnet(network([10, 1, 2, 3], 8), mac, 4)
    );
}

#[test]
fn bridges_and_taps_are_parsed() {
    let tunnet = |tap, mac, queues| Ok(Tunnet { tap, mac, queues });
    assert_eq!(parse("bridge:br0"), tunnet(TapBackend::Bridge("br0".into()), None, 1));
    assert_eq!(
        parse("tap:a.b-c:52:54:00:00:00:01,queues=2"),
        tunnet(TapBackend::Tap("a.b-c".into()), Some([0x52, 0x54, 0, 0, 0, 1]), 2)
    );
}

#[test]
fn other_values_are_refused() {
    for (wrong, words) in [
        ("", "IP[/LEN]"),
        ("eth0", "IP[/LEN]"),
        ("192.168.19", "IP[/LEN]"),
        ("192.168.19.1/", "8 to 30"),
        ("192.168.19.1/31", "8 to 30"),
        ("192.168.19.0", "not a host's"),
        ("192.168.19.255", "not a host's"),
        ("127.0.0.1", "cannot be the address"),
        ("224.0.0.1", "cannot be the address"),
        ("0.0.0.0", "cannot be the address"),
        ("fe80::1", "IPv6"),
        ("2001:db8::1/64", "IPv6"),
        ("[::1]", "IPv6"),
        ("bridge:", "1 to 15"),
        ("tap:0123456789abcdef", "1 to 15"),
        ("tap:..", "1 to 15"),
        ("tap:a/b", "no interface"),
        ("tap:lg%d", "no interface"),
        ("192.168.19.1:", "not a MAC"),
        ("192.168.19.1:02:00:00:00:00", "not a MAC"),
        ("192.168.19.1:02:00:00:00:00:01:02", "not a MAC"),
        ("192.168.19.1:2:0:0:0:0:1", "not a MAC"),
        ("192.168.19.1:+2:00:00:00:00:01", "not a MAC"),
        ("192.168.19.1:0g:00:00:00:00:01", "not a MAC"),
        ("192.168.19.1:00:00:00:00:00:00", "not zero"),
        ("bridge:br0:01:00:5e:00:00:01", "group"),
        ("192.168.19.1,queues=0", "1 to 16"),
        ("192.168.19.1,queues=17", "1 to 16"),
        ("192.168.19.1,mtu=9000", "not an option"),
    ] {
        let error = parse(wrong).unwrap_err();
        assert!(error.contains(words), "{wrong}: {error}");
    }
}

#[test]
fn kernel_words_have_the_address_of_the_guest() {
    let words = |words: &[&str]| kernel_words(&Config::of(words));
    assert_eq!(words(&[]), [""; 0]);
    assert_eq!(
        words(&["--tunnet", "192.168.19.1"]),
        ["ip=192.168.19.2::192.168.19.1:255.255.255.0::eth0:off"]
    );
    let three = ["--tunnet=bridge:br0", "--tunnet=10.0.0.2/30", "--tunnet=10.1.255.254/16"];
    assert_eq!(
        words(&three),
        [
            "ip=10.0.0.1::10.0.0.2:255.255.255.252::eth1:off",
            "ip=10.1.255.253:::255.255.0.0::eth2:off"
        ]
    );
}

#[test]
fn driver_words_are_given_only_with_cards() {
    let words = |words: &[&str]| driver_words(&Config::of(words));
    assert_eq!(words(&[]), [""; 0]);
    assert_eq!(words(&["--tunnet=bridge:br0", "--tunnet=10.0.0.2/30"]), ["virtio_net.napi_tx=0"]);
}
