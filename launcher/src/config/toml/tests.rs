use super::super::definition;
use super::*;

fn refused(text: &str) -> String {
    read(text, &definition()).unwrap_err()
}

#[test]
fn each_shape_of_option_takes_its_type_of_value() {
    let text = "# a comment\nmemory = 512\nkernel = 'vmlinuz'\narguments = ['a b', 'c']\n\
        cpus = 0x4\nblock = 'a'\nconsole = ['stdio', 'sock']\nrng = true\ndetach = true\n\
        verbose = false\n";
    let args = read(text, &definition()).unwrap();
    let some = |word: &str| Some(OsString::from(word));
    assert_eq!(args.get("memory"), [some("512")]);
    assert_eq!(args.get("kernel"), [some("vmlinuz")]);
    assert_eq!(args.get("arguments"), [some("a b"), some("c")]);
    assert_eq!(args.get("cpus"), [some("4")]);
    assert_eq!(args.get("block"), [some("a")]);
    assert_eq!(args.get("console"), [some("stdio"), some("sock")]);
    assert_eq!(args.get("rng"), [None]);
    assert_eq!(args.get("detach"), [None]);
    // The option is left out: otherwise the command line would refuse its repetition.
    assert!(!args.has("verbose"));
}

#[test]
fn an_unknown_key_is_reported_with_its_line_and_a_suggestion() {
    assert_eq!(
        refused("memory = 512\n\nblok = 'a'\n"),
        r#"3: there is no option "blok": is it "block"?"#
    );
    assert!(refused("no_reboot = true").contains(r#"is it "no-reboot"?"#));
    assert!(refused("xyzzy = 1").contains("lguest --help"));
    assert_eq!(refused("[guest]\nmemory = 512"), refused("guest.memory = 512"));
}

#[test]
fn a_file_cannot_include_another() {
    assert_eq!(refused("config = 'b'"), "1: config is only for the command line");
    assert_eq!(refused("print-config = true"), "1: print-config is only for the command line");
}

#[test]
fn a_wrong_type_is_reported_with_the_expected_one() {
    for (text, words) in [
        (
            "detach = 'yes'",
            "1: detach: this is a switch: true or false, not a value of type string",
        ),
        ("\ncpus = [1]", "2: cpus: this is a string or a number, not a value of type array"),
        ("cpus = true", "a string or a number, not a value of type boolean"),
        ("block = true", "a string, or an array of strings, not a value of type boolean"),
        (
            "block = [\n'a',\ntrue]",
            "3: block: what is in the array are strings, not of type boolean",
        ),
        ("arguments = 'root=/dev/vda rw'", "an array of words, not a value of type string"),
        ("rng = []", "a string or true, not a value of type array"),
        ("kernel = 1979-05-27", "not a value of type datetime"),
        ("username = \"a\\u0000b\"", "byte 0"),
    ] {
        let error = refused(text);
        assert!(error.contains(words), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn an_invalid_value_is_reported_with_its_line() {
    for (text, words) in [
        ("memory = 'lots'", "1: memory: invalid value 'lots': memory is a number of MiB"),
        ("cpus = 65", "1: cpus: invalid value '65': 65 is not in 1..=64"),
        ("cpus = -1", "1: cpus: invalid value '-1'"),
        ("block = [\n  'a',\n  'b,rw'\n]", "3: block: invalid value 'b,rw': no option \"rw\""),
        ("console = 'multiport'", "multiport"),
        ("name = 'a/b'", "a/b"),
    ] {
        let error = refused(text);
        assert!(error.contains(words), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_syntax_error_is_reported_with_its_line() {
    assert!(refused("memory = 512\nkernel vmlinuz").starts_with("2: "));
    assert!(refused("cpus = 1\ncpus = 2").starts_with("2: "), "{}", refused("cpus = 1\ncpus = 2"));
    for text in ["memory = 512\nkernel vmlinuz", "a = \"b", "= 1", "cpus = 1\ncpus = 2"] {
        assert_eq!(refused(text).lines().count(), 1, "{}", refused(text));
    }
}
