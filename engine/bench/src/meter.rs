//! What a process uses: time, CPU, memory, threads.
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::{Duration, Instant};

/// What something took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    /// Of all threads of this process, the kernel's work for them included.
    pub cpu: Duration,
}

/// Runs `work` and tells what it took.
pub fn cost(work: impl FnOnce()) -> Cost {
    let (wall, before) = (Instant::now(), cpu());
    work();
    Cost { wall: wall.elapsed(), cpu: cpu() - before }
}

/// CPU time of this process so far.
pub fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Bytes of memory in use.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("statm has its fields");
    pages * rustix::param::page_size() as u64
}

/// Bytes that this process has handed to the kernel to be written.
pub fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("proc is mounted");
    let wchar = io.lines().find_map(|l| l.strip_prefix("wchar: ")).and_then(|n| n.parse().ok());
    wchar.expect("io has its fields")
}

/// Waits until a store in `dir` has nothing to do any more: for two seconds this process neither worked nor wrote, and
/// the directory remained as it was.
pub fn drained(dir: &Path) {
    let look = || (written(), crate::raw::allocated(dir));
    let (mut before, mut quiet) = (look(), 0);
    while quiet < 4 {
        let worked = cpu();
        std::thread::sleep(Duration::from_millis(500));
        let worked = cpu() - worked;
        let now = look();
        quiet = if now == before && worked < Duration::from_millis(20) { quiet + 1 } else { 0 };
        before = now;
    }
}

/// Threads that live.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("proc is mounted").count()
}
