# The libraries that the kernel needs, for all who link it: glibc's vector
# logarithm and exponential where there are vectors (HAVE_VECTORS in step.h).
KERNEL_LIBS := $(if $(filter x86_64-%linux-gnu,$(shell $(CC) -dumpmachine)),-lmvec) -lm

# How the kernel is compiled, for the extension and for the tests of what is
# shipped.  Results must be the same on every machine: no -ffast-math,
# no contraction to fused multiply-add.
KERNEL_OPTIMIZATION := -O3 -g -fno-math-errno -ffp-contract=off
