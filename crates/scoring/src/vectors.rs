//! One code for every width of vector instructions: wider ones do the same operations, so that they give the same bits.

/// Work over slices that the compiler turns into vector instructions.
pub(crate) trait Kernel {
    type Output;
    /// Does the work. To be marked `inline(always)`, so that it is compiled for each width.
    fn run(self) -> Self::Output;
}

/// The vector instructions to use. More than the baseline are only had by finding them on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vectors {
    avx2: bool,
}

impl Vectors {
    /// Those that every machine of this architecture has.
    pub const BASELINE: Vectors = Vectors { avx2: false };

    /// The widest of this machine.
    pub fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Vectors { avx2: std::arch::is_x86_feature_detected!("avx2") };
        #[cfg(not(target_arch = "x86_64"))]
        Vectors::BASELINE
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "a function of other instructions than the caller's is unsafe to call")]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        if self.avx2 {
            // SAFETY: `avx2` is only set where the processor was found to have it.
            unsafe { run_avx2(kernel) }
        } else {
            kernel.run()
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run()
    }
}

/// AVX2 alone: a fused multiply-add, which comes with it on most machines, would round once instead of twice.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
