//! Memory: of the server itself, and of the machine.

/// Gives memory that was freed back to the system. glibc keeps most of it otherwise: after reading an app of 20,000
/// functions more than half of what the server holds. Takes less than a millisecond for a small app.
pub fn return_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "glibc's allocator has no safe door to this")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: `malloc_trim` may be called at any time from any thread (malloc_trim(3)); it touches freed memory only.
        let _released = unsafe { malloc_trim(0) };
    }
}

/// Bytes of memory that the machine has, or the control group in which the server runs, whichever is less.
pub fn of_the_machine() -> u64 {
    let machine = rustix::system::sysinfo();
    let all = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    // `max` where there is no limit; at the root of the hierarchy there is no such file.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    limit.and_then(|text| text.trim().parse::<u64>().ok()).map_or(all, |limit| limit.min(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_more_memory_than_this_process() {
        let ours = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = ours.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(of_the_machine() > pages * 4096);
    }

    #[test]
    fn what_is_in_use_stays_as_it_is() {
        let kept: Vec<Vec<u8>> = (0..1000_u16).map(|number| number.to_le_bytes().repeat(500)).collect();
        drop((0..10_000).map(|_| vec![1_u8; 1000]).collect::<Vec<_>>());
        return_freed();
        assert!(kept.iter().zip(0_u16..).all(|(bytes, number)| *bytes == number.to_le_bytes().repeat(500)));
    }
}
