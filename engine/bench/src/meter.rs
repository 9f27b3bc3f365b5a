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

/// Runs `work`, and `look` now and then in a thread beside it, also at the end.
pub fn during<T>(look: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    const EVERY: Duration = Duration::from_millis(20);
    let (ended, end) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let end = end;
            while end.recv_timeout(EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                look();
            }
            look();
        });
        let done = work();
        drop(ended);
        done
    })
}

/// From here on [`peak`] counts anew.
pub fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("proc is mounted");
}

/// Most bytes of memory in use at once.
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("status has its fields");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Descriptors that are open, but for the one that counts them.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count() - 1
}

/// Threads that live.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("proc is mounted").count()
}
