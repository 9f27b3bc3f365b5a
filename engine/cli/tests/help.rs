//! The help texts, as golden output.
use super::run::Home;

#[test]
fn help_says_what_it_said() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    let home = Home::new();
    insta::assert_snapshot!("cli-help", home.ok(&["--help"]).text());
    for command in [
        "tour",
        "put",
        "get",
        "delete",
        "clear",
        "scan",
        "spaces",
        "spaces list",
        "spaces create",
        "spaces delete",
        "spaces stat",
        "compact",
        "recover",
        "load",
        "verify",
        "dump",
        "inspect",
    ] {
        let args: Vec<&str> = command.split(' ').chain(["-h"]).collect();
        insta::assert_snapshot!(format!("cli-help-{}", command.replace(' ', "-")), home.ok(&args).text());
    }
}
