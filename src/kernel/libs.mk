# The libraries that the kernel needs, for all who link it: glibc's vector
# logarithm and exponential where there are vectors (HAVE_VECTORS in step.h).
KERNEL_LIBS := $(if $(filter x86_64-%linux-gnu,$(shell $(CC) -dumpmachine)),-lmvec) -lm
