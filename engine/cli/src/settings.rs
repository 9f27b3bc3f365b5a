//! What a command runs with: flags over environment over configuration file over defaults, resolved in one step.
use crate::args::Global;
use crate::failure::Failure;
use bulkhead::{Options, SpaceId};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The environment variable that names the data root.
const DATA_ROOT: &str = "BULKHEAD_DATA_ROOT";

/// What a command runs with.
#[derive(Debug)]
pub struct Settings {
    pub data_root: PathBuf,
    pub options: Options,
    space: Option<SpaceId>,
}

impl Settings {
    /// The space that a command is about: its own flag, or the one that the configuration names.
    pub fn space<'a>(&'a self, flag: Option<&'a SpaceId>) -> Result<&'a SpaceId, Failure> {
        flag.or(self.space.as_ref()).ok_or_else(|| {
            Failure::Usage("no space given. Name it with --space, or set `space` in the configuration".into())
        })
    }
}

/// What the configuration file says.
#[derive(Debug, Default)]
struct ConfigFile {
    data_root: Option<PathBuf>,
    space: Option<SpaceId>,
    options: Options,
}

/// Resolves the settings of this process.
pub fn resolve(global: &Global) -> Result<Settings, Failure> {
    let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let file = config_file(global.config.as_deref(), &env)?;
    let data_root = match (&global.data_root, env(DATA_ROOT), file.data_root) {
        (Some(flag), ..) => expand(flag, &env)?,
        (None, Some(var), _) => expand(Path::new(&var), &env)?,
        (None, None, Some(configured)) => configured,
        (None, None, None) => home(&env)?.join(".local/share/bulkhead"),
    };
    let mut options = file.options;
    global.options.apply(&mut options);
    Ok(Settings { data_root, options, space: file.space })
}

type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn home(env: Env<'_>) -> Result<PathBuf, Failure> {
    env("HOME").map(PathBuf::from).ok_or_else(|| {
        Failure::Usage(format!("HOME is not set. Name the data root with --data-root or {DATA_ROOT}"))
    })
}

/// `~` and `~/x` are below the home directory, as in a shell; `~user` is refused rather than taken for a file.
fn expand(path: &Path, env: Env<'_>) -> Result<PathBuf, Failure> {
    let mut parts = path.components();
    match parts.next() {
        Some(Component::Normal(first)) if first == "~" => Ok(home(env)?.join(parts)),
        Some(Component::Normal(first)) if first.as_encoded_bytes().starts_with(b"~") => {
            Err(Failure::Usage(format!(
                "{}: only ~ for your own home directory is understood. Write the path in full, or ./{} for a \
                 file of this name",
                path.display(),
                path.display()
            )))
        }
        _ => Ok(path.to_path_buf()),
    }
}

fn config_file(flag: Option<&Path>, env: Env<'_>) -> Result<ConfigFile, Failure> {
    let path = match flag {
        Some(flag) => expand(flag, env)?,
        None => {
            let dir = match (env("XDG_CONFIG_HOME"), env("HOME")) {
                (Some(dir), _) => PathBuf::from(dir),
                (None, Some(home)) => PathBuf::from(home).join(".config"),
                (None, None) => return Ok(ConfigFile::default()),
            };
            dir.join("bulkhead/config.toml")
        }
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        // Only one that was asked for has to be there.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && flag.is_none() => {
            return Ok(ConfigFile::default());
        }
        Err(e) => return Err(Failure::file("read", &path, &e)),
    };
    parse(&text, &path, env).map_err(|why| Failure::Usage(format!("configuration {}: {why}", path.display())))
}

fn parse(text: &str, path: &Path, env: Env<'_>) -> Result<ConfigFile, String> {
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    let defaults = toml::Table::try_from(Options::default()).map_err(|e| e.to_string())?;
    let mut known: Vec<&str> = defaults.keys().map(String::as_str).chain(["data-root", "space"]).collect();
    known.sort_unstable();
    if let Some(key) = table.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(format!("unknown key \"{key}\". Known keys: {}", known.join(", ")));
    }
    let data_root = match table.remove("data-root") {
        None => None,
        Some(toml::Value::String(given)) if !given.is_empty() => {
            let expanded = expand(Path::new(&given), env).map_err(|e| match e {
                Failure::Usage(why) | Failure::Failed(why) => why,
                other => format!("{other:?}"),
            })?;
            // A relative path means the same wherever the command is started.
            Some(path.parent().unwrap_or(Path::new(".")).join(expanded))
        }
        Some(other) => return Err(format!("data-root is {other}; expected a path as a string")),
    };
    let space = match table.remove("space") {
        None => None,
        Some(toml::Value::String(id)) => Some(SpaceId::new(&id).map_err(|e| format!("space: {e}"))?),
        Some(other) => return Err(format!("space is {other}; expected a space id as a string")),
    };
    complete_spaces(&mut table)?;
    let options = table.try_into().map_err(|e| e.to_string().trim().to_owned())?;
    Ok(ConfigFile { data_root, space, options })
}

/// What `[spaces."id"]` leaves out is as `[tiers]` has it: the engine takes nothing over by itself.
fn complete_spaces(table: &mut toml::Table) -> Result<(), String> {
    let of_all = match table.get("tiers") {
        None => toml::Table::new(),
        Some(toml::Value::Table(tiers)) => tiers.clone(),
        Some(other) => return Err(format!("tiers is {other}; expected a table")),
    };
    let Some(spaces) = table.get_mut("spaces") else { return Ok(()) };
    let Some(spaces) = spaces.as_table_mut() else {
        return Err(format!("spaces is {spaces}; expected tables as [spaces.\"id\"]"));
    };
    for (id, own) in spaces {
        let Some(own) = own.as_table_mut() else {
            return Err(format!("spaces.\"{id}\" is {own}; expected a table with keys of [tiers]"));
        };
        for (key, value) in &of_all {
            own.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead::Durability;

    fn env(name: &str) -> Option<OsString> {
        (name == "HOME").then(|| "/home/me".into())
    }

    fn parsed(text: &str) -> Result<ConfigFile, String> {
        parse(text, Path::new("/etc/bulkhead/config.toml"), &env)
    }

    #[test]
    fn every_key_of_the_file_is_taken_or_refused() {
        let file = parsed(
            "data-root = \"~/data\"\nspace = \"alpha\"\nmemory-budget = 65536\ndurability = \"process\"",
        )
        .unwrap();
        assert_eq!(file.data_root.as_deref(), Some(Path::new("/home/me/data")));
        assert_eq!(file.space.unwrap().as_str(), "alpha");
        assert_eq!((file.options.memory_budget, file.options.durability), (65536, Durability::Process));
        assert_eq!(
            parsed("data-root = \"data\"").unwrap().data_root.unwrap(),
            Path::new("/etc/bulkhead/data")
        );
        for (bad, why) in [
            ("memory_budget = 1", "unknown key \"memory_budget\". Known keys: background-bytes-per-s, "),
            ("memory-budget = \"much\"", "memory-budget"),
            ("memory-budget = -1", "memory-budget"),
            ("data-root = 5", "data-root is 5; expected a path"),
            ("data-root = \"~root/x\"", "only ~ for your own home"),
            ("space = \"a/b\"", "space: a space id must not contain '/'"),
            ("= 3", "TOML parse error"),
        ] {
            let said = parsed(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }

    #[test]
    fn a_space_has_what_it_says_and_otherwise_what_all_have() {
        let file = parsed(
            "[tiers]\nquota-bytes = 5000\nhot-tables = 3\nsnapshot-age-ms = 900\nsnapshot-bytes = \"4MiB\"\n\
             [spaces.alpha]\nquota-bytes = 700\nmax-snapshots = 8\n[spaces.\"b c\".hot-capacity]\nentries = 7\nbytes = 900",
        )
        .unwrap();
        let of = |id| &file.options.spaces[&SpaceId::new(id).unwrap()];
        assert_eq!((of("alpha").quota_bytes, of("alpha").hot_tables), (700, 3));
        assert_eq!((of("alpha").snapshot_age_ms, of("alpha").max_snapshots), (900, 8));
        assert_eq!(of("alpha").snapshot_bytes, 4 << 20, "as all");
        assert_eq!((of("b c").quota_bytes, of("b c").hot_capacity.entries), (5000, 7));
        assert_eq!(file.options.tiers.quota_bytes, 5000);
        for (bad, why) in [
            ("spaces = 1", "spaces is 1; expected tables"),
            ("[spaces]\nalpha = 1", "spaces.\"alpha\" is 1; expected a table"),
            ("[spaces.\"a/b\"]\nhot-tables = 3", "must not contain '/'"),
            ("[spaces.alpha]\nquota = 3", "unknown field `quota`"),
            ("tiers = 1", "tiers is 1; expected a table"),
        ] {
            let said = parsed(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }

    #[test]
    fn the_tilde_alone_is_home() {
        for (given, meant) in
            [("~", "/home/me"), ("~/a", "/home/me/a"), ("/~/a", "/~/a"), ("./~a", "./~a"), ("a~", "a~")]
        {
            assert_eq!(expand(Path::new(given), &env).unwrap(), Path::new(meant));
        }
        assert!(expand(Path::new("~me/a"), &env).is_err());
        assert!(expand(Path::new("~/a"), &|_| None).is_err());
    }
}
