/**
 * How fast the guests' time-stamp counter is.
 *
 * @module
 */
import { checked } from "../src/ffi/errno.ts";
import { Kvm } from "../src/ffi/kvm.ts";
import { syscalls } from "../src/ffi/syscall.ts";

/** `_IO(KVMIO, 0xa3)` (linux/kvm.h; Documentation/virt/kvm/api.rst, section 4.56). */
const KVM_GET_TSC_KHZ = 0xaea3;

/** The frequency that KVM gives to a guest's time-stamp counter unless it is told otherwise, in kHz. */
export function guestTscKhz(): number {
  const kvm = Kvm.open();
  const vm = kvm.createVm();
  try {
    return checked("ioctl(KVM_GET_TSC_KHZ)", syscalls().ioctl_value(vm.fd, KVM_GET_TSC_KHZ, 0));
  } finally {
    vm.close();
    kvm.close();
  }
}
