//! Where settings come from, and what is refused.
use super::run::{Home, finish, write};
use bulkhead::SpaceId;

#[test]
fn the_data_root_is_flag_then_environment_then_configuration_then_default() {
    let home = Home::new();
    let create = |env: Option<&str>, flags: &[&str]| {
        let mut command = home.command(&[&["spaces", "create", "alpha"], flags].concat());
        env.map(|root| command.env("BULKHEAD_DATA_ROOT", root));
        let ran = finish(command);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    };
    create(None, &[]);
    assert!(home.default_root().join("alpha/SPACE").exists());
    write(&home.path(".config/bulkhead/config.toml"), "data-root = '~/configured'");
    create(None, &[]);
    assert!(home.path("configured/alpha/SPACE").exists());
    create(Some("~/from-env"), &[]);
    assert!(home.path("from-env/alpha/SPACE").exists());
    create(Some("~/from-env"), &["--data-root", "~/from-flag"]);
    assert!(home.path("from-flag/alpha/SPACE").exists());
    // An empty variable is none.
    write(&home.path("other.toml"), "data-root = 'beside'");
    create(Some(""), &["--config", "~/other.toml"]);
    assert!(home.path("beside/alpha/SPACE").exists());
    let mut xdg = home.command(&["spaces", "create", "alpha"]);
    write(&home.path("xdg/bulkhead/config.toml"), "data-root = '~/from-xdg'");
    xdg.env("XDG_CONFIG_HOME", home.path("xdg"));
    assert_eq!(finish(xdg).code, Some(0));
    assert!(home.path("from-xdg/alpha/SPACE").exists());
}

#[test]
fn every_option_of_the_configuration_has_its_effect_and_a_flag_wins() {
    let home = Home::new();
    let config = home.path(".config/bulkhead/config.toml");
    write(&config, "max-spaces = 1\nspace = 'alpha'\nmemory-budget = '64KiB'");
    home.ok(&["spaces", "create", "alpha"]);
    home.run(&["spaces", "create", "beta"]).failed(1, &["space \"beta\": there are 1 spaces already"]);
    home.ok(&["spaces", "create", "beta", "--max-spaces", "2"]);
    home.ok(&["put", "k", "v"]);
    assert_eq!(home.ok(&["get", "k", "--space", "alpha"]).stdout, b"v");
    let large = vec![0; 70_000];
    let busy = home.run_with_input(&["put", "large"], &large);
    busy.failed(1, &["space \"alpha\": the memory budget is used up", "of 65536 bytes"]);
    let fits = home.run_with_input(&["put", "large", "--memory-budget", "1MiB"], &large);
    assert_eq!(fits.code, Some(0), "{}", fits.stderr);
}

#[test]
fn bad_settings_are_bad_usage_and_say_what_is_expected() {
    let home = Home::new();
    let config = home.path(".config/bulkhead/config.toml");
    for (text, parts) in [
        ("memory_budget = 1", &["config.toml", "unknown key \"memory_budget\"", "memory-budget"][..]),
        ("[persistence]\nx = 1", &["unknown key \"persistence\""]),
        ("max-spaces = 0", &["option max-spaces is 0; expected 1..="]),
        ("segment-first = 1", &["option segment-first is 1"]),
        ("cache-bytes = '1 zillion'", &["config.toml", "`cache-bytes`", "for example 512MiB"]),
        ("[tiers]\nquota-bytes = -1", &["config.toml", "`tiers.quota-bytes`", "for example 512MiB"]),
        ("durability = 'maybe'", &["config.toml", "`power`"]),
        ("this is no toml", &["config.toml", "TOML parse error"]),
        ("data-root = '~other/x'", &["only ~ for your own home"]),
    ] {
        write(&config, text);
        home.run(&["spaces", "create", "alpha"]).failed(64, parts);
    }
    write(&config, "");
    home.run(&["spaces", "list", "--config", "/nowhere/x.toml"]).failed(1, &["/nowhere/x.toml"]);
    home.run(&["get", "k"]).failed(64, &["no space given"]);
    for args in [
        &["get"][..],
        &["frobnicate"],
        &["get", "k", "--frob"],
        &["get", "k", "--memory-budget", "1 zillion"],
        &["load", "."],
        &["load", ".", "-s", "a", "-s", "a"],
        &["load", ".", "-s", "a", "--durability", "relaxed"],
        &[],
    ] {
        assert_eq!(home.run(args).code, Some(64), "{args:?}");
    }
    assert!(!home.default_root().exists(), "bad usage leaves nothing behind");
}

#[test]
fn an_id_has_the_same_verdict_wherever_it_is_given() {
    let home = Home::new();
    let config = home.path(".config/bulkhead/config.toml");
    let long = "x".repeat(65);
    let ids = [
        "alpha", "A", " a ", "a.b", "con", "ä", "50%", "", ".", "..", "a..b", "a/b", "a\\b", "a\nb",
        "\u{85}", &long,
    ];
    for id in ids {
        let code = |args: &[&str]| home.run(args).code;
        // The verdict alone counts: where the id is good, the space is not there or is made.
        write(&config, "");
        let flag = code(&["get", "k", "--space", id]);
        let created = code(&["spaces", "create", "--", id]);
        write(&config, format!("space = {}", serde_json::to_string(id).unwrap()));
        let configured = code(&["get", "k"]);
        let expected = match SpaceId::new(id) {
            Ok(_) => (Some(1), Some(0), Some(1)),
            Err(_) => (Some(64), Some(64), Some(64)),
        };
        assert_eq!((flag, created, configured), expected, "{id:?}");
    }
}
