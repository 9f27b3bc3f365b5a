//! The yardstick: the bare system calls.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file that is appended to.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    at: u64,
}

impl RawFile {
    /// An empty file; nothing is allocated ahead.
    pub fn create(path: &Path) -> RawFile {
        let options = File::options().read(true).write(true).create_new(true).open(path);
        RawFile { file: options.expect("the file is made"), at: 0 }
    }

    /// A file with `len` bytes allocated, and that synced.
    pub fn allocated(path: &Path, len: u64) -> RawFile {
        let raw = RawFile::create(path);
        rustix::fs::fallocate(&raw.file, rustix::fs::FallocateFlags::empty(), 0, len).expect("there is room");
        raw.file.sync_all().expect("the disk works");
        raw
    }

    /// One write.
    pub fn append(&mut self, bytes: &[u8]) {
        self.file.write_all_at(bytes, self.at).expect("the disk works");
        self.at += bytes.len() as u64;
    }

    /// One write, one fdatasync.
    pub fn append_synced(&mut self, bytes: &[u8]) {
        self.append(bytes);
        self.file.sync_data().expect("the disk works");
    }
}

/// Reads every file under `dir` to its end, a mebibyte at a time; bytes read.
pub fn read_tree(dir: &Path) -> u64 {
    let mut buf = vec![0; 1024 * 1024];
    let mut total = 0;
    for entry in std::fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            total += read_tree(&path);
            continue;
        }
        let file = File::open(&path).expect("the file is there");
        let mut at = 0;
        loop {
            let n = file.read_at(&mut buf, at).expect("the disk works");
            if n == 0 {
                break;
            }
            at += n as u64;
        }
        total += at;
    }
    total
}

/// Bytes that the files under `dir` take on the disk, those included that are allocated and not written yet. What
/// goes meanwhile is not counted.
pub fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(m) if m.is_dir() => allocated(&entry.path()),
        Ok(m) => m.blocks() * 512,
        Err(_) => 0,
    };
    entries.map_while(Result::ok).map(of).sum()
}

/// Copies a directory with all in it.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("the copy is new");
    for entry in std::fs::read_dir(from).expect("the directory is there") {
        let entry = entry.expect("the directory can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).expect("there is room");
        }
    }
}
