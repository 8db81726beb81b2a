// A CUDA driver without a GPU: libcuda.so.1 for tests. Device memory is host memory, a stream is a thread, a copy engine
// for each direction and the multiprocessors are locks, and what ran when is kept for the tests to read.
//
// Only what the runtime calls is here; any other function is missing, and its caller says so.
#include <cuda.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "network.cu"
#include "ragged.h"

#define EXPORT extern "C" __attribute__((visibility("default")))
using Clock = std::chrono::steady_clock;
using Work = std::function<void()>;

namespace {

struct Span {  // of one piece of work
  char kind;   // i: copy in, o: copy out, c: compute
  long stream;
  double began, ended;  // seconds
};

const int devices = 2;
thread_local CUcontext current = nullptr;
const CUcontext primary[devices] = {reinterpret_cast<CUcontext>(0x1000), reinterpret_cast<CUcontext>(0x1100)};
int device_of(CUcontext context) { return context == primary[1]; }
CUresult in_context() {  // what works on the current device needs one; a foreign context is no device's primary one
  return current == primary[0] || current == primary[1] ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

std::mutex big;  // over all below
auto &allocated = *new std::map<uintptr_t, size_t>, &pinned = *new std::map<uintptr_t, size_t>;  // never destroyed
auto& owner = *new std::map<uintptr_t, int>;  // the device of each allocation
auto& foreign = *new std::set<uintptr_t>;  // memory of another library's own context
size_t reserved = 0;                           // of the pool: freed, but not given back
size_t total = size_t(1) << 30;
double slowness = 0;  // seconds that each piece of work lasts at least
long launches_left = -1;  // until the device is lost
bool lost = false, full = false;  // full: there is no room for a context
char fatal = 0;  // the kind of work by which the device is lost
auto& spans = *new std::vector<Span>;
auto& faults = *new std::vector<std::string>;  // misuse that a real driver may let pass
long graphs_launched = 0;
auto& queued = *new std::vector<std::string>;  // "kernel rows-of-blocks", and "load" for a library
const Clock::time_point start = Clock::now();

double now() { return std::chrono::duration<double>(Clock::now() - start).count(); }
size_t used() {
  size_t sum = 0;
  for (auto& [pointer, size] : allocated) sum += size;
  return sum;
}
bool inside(const std::map<uintptr_t, size_t>& table, uintptr_t pointer, size_t bytes) {
  auto after = table.upper_bound(pointer);
  if (after == table.begin()) return false;
  auto& [begin, size] = *std::prev(after);
  return pointer + bytes <= begin + size;
}

std::mutex copying_in, copying_out, computing;  // the device's own engines

struct Graph {
  std::shared_ptr<std::vector<Work>> work = std::make_shared<std::vector<Work>>();
  std::vector<std::shared_ptr<void>> kept;  // user objects
};

struct Stream {
  std::mutex lock;
  std::condition_variable wake, idle;
  std::deque<Work> queue;
  bool busy = false, ending = false;
  CUcontext context = current;
  Graph* captured = nullptr;
  std::thread thread{[this] { run(); }};

  void run() {
    for (std::unique_lock held(lock);;) {
      wake.wait(held, [this] { return ending || !queue.empty(); });
      if (queue.empty()) return;
      Work work = std::move(queue.front());
      queue.pop_front();
      busy = true;
      held.unlock();
      work();
      held.lock();
      busy = false;
      if (queue.empty()) idle.notify_all();
    }
  }
  void add(Work work) {
    std::lock_guard held(lock);
    if (captured) return captured->work->push_back(std::move(work));
    queue.push_back(std::move(work));
    wake.notify_one();
  }
  void sync() {
    std::unique_lock held(lock);
    idle.wait(held, [this] { return queue.empty() && !busy; });
  }
  void end() {
    sync();
    {
      std::lock_guard held(lock);
      ending = true;
    }
    wake.notify_one();
    thread.join();
  }
};

auto& streams = *new std::set<Stream*>;

struct Event {
  std::mutex lock;
  std::condition_variable done;
  long recorded = 0, reached = 0;
  double when = 0;

  void wait(long which) {
    std::unique_lock held(lock);
    done.wait(held, [&] { return reached >= which; });
  }
};

Stream* of(CUstream stream) {
  static Stream* usual = new Stream;  // the default stream, under any of its names
  return stream <= CU_STREAM_PER_THREAD ? usual : reinterpret_cast<Stream*>(stream);
}
Event* of(CUevent event) { return reinterpret_cast<Event*>(event); }
CUresult on(CUstream stream) {  // whether work can be queued there
  if (CUresult error = in_context()) return error;
  return stream <= CU_STREAM_PER_THREAD || of(stream)->context == current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

void timed(char kind, Stream* stream, std::mutex& engine, const Work& work) {
  std::lock_guard held(engine);
  double began = now();
  work();
  std::this_thread::sleep_for(std::chrono::duration<double>(std::max(0.0, slowness - (now() - began))));
  std::lock_guard table(big);
  lost = lost || kind == fatal;
  spans.push_back({kind, long(reinterpret_cast<uintptr_t>(stream)), began, now()});
}

CUresult allocate(std::map<uintptr_t, size_t>& table, size_t bytes, void** pointer) {
  std::lock_guard held(big);
  if (lost) return CUDA_ERROR_ILLEGAL_ADDRESS;
  if (CUresult error = in_context()) return error;
  if (&table == &allocated && used() + bytes > total) return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = aligned_alloc(256, (bytes + 255) / 256 * 256);
  memset(*pointer, 0xAB, bytes);  // what was never written is seen
  table[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  owner[reinterpret_cast<uintptr_t>(*pointer)] = device_of(current);
  return CUDA_SUCCESS;
}

CUresult release(std::map<uintptr_t, size_t>& table, uintptr_t pointer) {
  std::set<Stream*> all;
  {
    std::lock_guard held(big);
    all = streams;
  }
  for (Stream* stream : all) stream->sync();  // as the driver does
  std::lock_guard held(big);
  if (!table.erase(pointer)) return CUDA_ERROR_INVALID_VALUE;
  free(reinterpret_cast<void*>(pointer));
  return CUDA_SUCCESS;
}

CUresult health() {
  std::lock_guard held(big);
  return lost ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

int retained = 0;

}  // namespace

// For the tests, through ctypes.
EXPORT void sim_reset(size_t memory, double slow, long launches) {
  std::lock_guard held(big);
  total = memory, slowness = slow, launches_left = launches, lost = full = false, fatal = 0;
  spans.clear(), faults.clear(), foreign.clear(), queued.clear(), graphs_launched = 0;
}
EXPORT void sim_fail(char kind) { std::lock_guard held(big); fatal = kind; }
EXPORT void sim_fill() { full = true; }
EXPORT void sim_own(uintptr_t pointer) { std::lock_guard held(big); foreign.insert(pointer); }
EXPORT size_t sim_used() { std::lock_guard held(big); return used() + reserved; }
EXPORT size_t sim_pinned() { std::lock_guard held(big); return pinned.size(); }
EXPORT int sim_spans(Span* out, int most) {
  std::lock_guard held(big);
  int count = std::min<int>(most, spans.size());
  std::copy_n(spans.begin(), count, out);
  return count;
}
static void write(const std::vector<std::string>& lines, char* out, size_t most) {
  std::lock_guard held(big);
  std::string all;
  for (auto& line : lines) all += line + "\n";
  snprintf(out, most, "%s", all.c_str());
}
EXPORT void sim_faults(char* out, size_t most) { write(faults, out, most); }
EXPORT long sim_graphs() { std::lock_guard held(big); return graphs_launched; }
EXPORT void sim_launches(char* out, size_t most) { write(queued, out, most); }

#define FUNCTION(name) EXPORT CUresult name

FUNCTION(cuInit)(unsigned) {
  const char* visible = getenv("CUDA_VISIBLE_DEVICES");
  return visible && !*visible ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}
FUNCTION(cuDriverGetVersion)(int* version) {
  const char* given = getenv("SIMULATED_CUDA");
  *version = given ? atoi(given) : 13000;
  return CUDA_SUCCESS;
}
FUNCTION(cuGetErrorName)(CUresult error, const char** name) {
  static const std::map<int, const char*> names = {{0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"},
      {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {100, "CUDA_ERROR_NO_DEVICE"}, {200, "CUDA_ERROR_INVALID_IMAGE"}, {201, "CUDA_ERROR_INVALID_CONTEXT"}, {400, "CUDA_ERROR_INVALID_HANDLE"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}};
  auto found = names.find(error);
  *name = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
  return CUDA_SUCCESS;
}
FUNCTION(cuGetErrorString)(CUresult error, const char** text) { return cuGetErrorName(error, text); }

// Devices and contexts
FUNCTION(cuDeviceGetCount)(int* count) { *count = devices; return CUDA_SUCCESS; }
FUNCTION(cuDeviceGet)(CUdevice* device, int index) {
  *device = index;
  return index < devices ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
FUNCTION(cuDeviceGetName)(char* name, int size, CUdevice) {
  const char* given = getenv("SIMULATED_NAME");
  snprintf(name, size, "%s", given ? given : "Simulated GPU");
  return CUDA_SUCCESS;
}
FUNCTION(cuDeviceGetUuid_v2)(CUuuid* uuid, CUdevice device) { memset(uuid, 7 + device, sizeof *uuid); return CUDA_SUCCESS; }
FUNCTION(cuDeviceGetPCIBusId)(char* id, int size, CUdevice) { snprintf(id, size, "0000:01:00.0"); return CUDA_SUCCESS; }
FUNCTION(cuDeviceTotalMem_v2)(size_t* bytes, CUdevice) { *bytes = total; return CUDA_SUCCESS; }
FUNCTION(cuDeviceGetAttribute)(int* value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 8; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = 9; break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 4; break;
    default: *value = 0;
  }
  return CUDA_SUCCESS;
}
FUNCTION(cuDevicePrimaryCtxRetain)(CUcontext* context, CUdevice device) {
  if (full) return CUDA_ERROR_OUT_OF_MEMORY;
  retained++, *context = primary[device];
  return CUDA_SUCCESS;
}
FUNCTION(cuDevicePrimaryCtxRelease_v2)(CUdevice) { retained--; return CUDA_SUCCESS; }
FUNCTION(cuCtxSetCurrent)(CUcontext context) { current = context; return CUDA_SUCCESS; }
FUNCTION(cuCtxGetCurrent)(CUcontext* context) { *context = current; return CUDA_SUCCESS; }
FUNCTION(cuCtxPushCurrent_v2)(CUcontext context) { current = context; return CUDA_SUCCESS; }
FUNCTION(cuCtxPopCurrent_v2)(CUcontext* context) { *context = current; current = nullptr; return CUDA_SUCCESS; }
FUNCTION(cuCtxGetDevice)(CUdevice* device) {
  *device = device_of(current);
  return in_context();
}
FUNCTION(cuCtxGetDevice_v2)(CUdevice* device, CUcontext context) { *device = device_of(context); return CUDA_SUCCESS; }
FUNCTION(cuCtxGetStreamPriorityRange)(int* least, int* greatest) { *least = 0; *greatest = -5; return CUDA_SUCCESS; }
FUNCTION(cuCtxSynchronize)() {
  std::lock_guard held(big);
  for (Stream* each : streams)
    if (each->captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return lost ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

// Memory
FUNCTION(cuMemGetInfo_v2)(size_t* free, size_t* all) {
  std::lock_guard held(big);
  *all = total, *free = total - used() - reserved;
  return CUDA_SUCCESS;
}
FUNCTION(cuMemAlloc_v2)(CUdeviceptr* pointer, size_t bytes) { return allocate(allocated, bytes, (void**)pointer); }
FUNCTION(cuMemFree_v2)(CUdeviceptr pointer) { return release(allocated, pointer); }

// The device's pool: memory is freed in the order of a stream, and stays reserved until the pool is trimmed.
const CUmemoryPool pool = reinterpret_cast<CUmemoryPool>(0x3000);
static cuuint64_t threshold = 0;
FUNCTION(cuDeviceGetMemPool)(CUmemoryPool* found, CUdevice) { *found = pool; return CUDA_SUCCESS; }
FUNCTION(cuDeviceGetDefaultMemPool)(CUmemoryPool* found, CUdevice) { *found = pool; return CUDA_SUCCESS; }
FUNCTION(cuMemPoolGetAttribute)(CUmemoryPool, CUmemPool_attribute name, void* value) {
  std::lock_guard held(big);
  *(cuuint64_t*)value = name == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD ? threshold : 0;
  return CUDA_SUCCESS;
}
FUNCTION(cuMemPoolSetAttribute)(CUmemoryPool, CUmemPool_attribute name, void* value) {
  std::lock_guard held(big);
  if (name == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) threshold = *(cuuint64_t*)value;
  return CUDA_SUCCESS;
}
FUNCTION(cuMemPoolTrimTo)(CUmemoryPool, size_t) { std::lock_guard held(big); reserved = 0; return CUDA_SUCCESS; }
FUNCTION(cuMemAllocFromPoolAsync)(CUdeviceptr* pointer, size_t bytes, CUmemoryPool, CUstream stream) {
  if (CUresult error = on(stream)) return error;
  CUresult made = allocate(allocated, bytes, (void**)pointer);
  std::lock_guard held(big);
  reserved -= std::min(reserved, bytes);
  return made;
}
FUNCTION(cuMemFreeAsync)(CUdeviceptr pointer, CUstream stream) {
  if (CUresult error = on(stream)) return error;
  of(stream)->add([=] {
    std::lock_guard held(big);
    if (!allocated.count(pointer)) return;
    if (threshold > 0) reserved += allocated[pointer];
    allocated.erase(pointer);
    free(reinterpret_cast<void*>(pointer));
  });
  return CUDA_SUCCESS;
}
FUNCTION(cuMemAllocHost_v2)(void** pointer, size_t bytes) { return allocate(pinned, bytes, pointer); }
FUNCTION(cuMemFreeHost)(void* pointer) { return release(pinned, (uintptr_t)pointer); }
FUNCTION(cuPointerGetAttributes)(unsigned count, CUpointer_attribute* names, void** values, CUdeviceptr pointer) {
  std::lock_guard held(big);
  bool host = inside(pinned, pointer, 0), device = inside(allocated, pointer, 0);
  for (unsigned i = 0; i < count; i++) {
    switch (names[i]) {
      case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned*)values[i] = host ? CU_MEMORYTYPE_HOST : device ? CU_MEMORYTYPE_DEVICE : 0;
        break;
      case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int*)values[i] = device ? owner[pointer] : -2; break;
      case CU_POINTER_ATTRIBUTE_CONTEXT:  // pools are of no context
        *(CUcontext*)values[i] = foreign.count(pointer) ? reinterpret_cast<CUcontext>(0x9000) : nullptr;
        break;
      case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(unsigned*)values[i] = 0; break;
      default: return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return CUDA_SUCCESS;
}
FUNCTION(cuPointerGetAttribute)(void* value, CUpointer_attribute name, CUdeviceptr pointer) {
  return cuPointerGetAttributes(1, &name, &value, pointer);
}
static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (CUresult error = health()) return error;
  if (CUresult error = in_context()) return error;
  bool in;
  {
    std::lock_guard held(big);
    in = inside(allocated, to, bytes) && inside(pinned, from, bytes);
    bool out = inside(pinned, to, bytes) && inside(allocated, from, bytes);
    if (!in && !out) faults.push_back("a copy is out of bounds, or not between pinned and device memory");
    if (!in && !out) return CUDA_ERROR_INVALID_VALUE;
  }
  Stream* it = of(stream);
  it->add([=] { timed(in ? 'i' : 'o', it, in ? copying_in : copying_out, [=] { memcpy((void*)to, (void*)from, bytes); }); });
  return CUDA_SUCCESS;
}
FUNCTION(cuMemcpyAsync)(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) { return copy(to, from, bytes, stream); }
FUNCTION(cuMemcpyHtoDAsync_v2)(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  return copy(to, (CUdeviceptr)from, bytes, stream);
}
FUNCTION(cuMemcpyDtoHAsync_v2)(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy((CUdeviceptr)to, from, bytes, stream);
}
FUNCTION(cuMemsetD8Async)(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  if (CUresult error = on(stream)) return error;
  of(stream)->add([=] { memset((void*)to, value, bytes); });
  return CUDA_SUCCESS;
}

// Streams and events
FUNCTION(cuStreamCreateWithPriority)(CUstream* stream, unsigned, int) {
  if (CUresult error = in_context()) return error;
  Stream* made = new Stream;
  *stream = reinterpret_cast<CUstream>(made);
  std::lock_guard held(big);
  streams.insert(made);
  return CUDA_SUCCESS;
}
FUNCTION(cuStreamDestroy_v2)(CUstream stream) {
  {
    std::lock_guard held(big);
    streams.erase(of(stream));
  }
  of(stream)->end();  // but not deleted, as another thread may be waiting for it
  return CUDA_SUCCESS;
}
FUNCTION(cuStreamSynchronize)(CUstream stream) {
  if (of(stream)->captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  of(stream)->sync();
  return health();
}
FUNCTION(cuStreamQuery)(CUstream stream) {
  if (CUresult error = health()) return error;
  std::lock_guard held(of(stream)->lock);
  return of(stream)->queue.empty() && !of(stream)->busy ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
FUNCTION(cuStreamGetCtx)(CUstream stream, CUcontext* context) {
  *context = stream <= CU_STREAM_PER_THREAD ? current : of(stream)->context;
  return CUDA_SUCCESS;
}
FUNCTION(cuStreamGetPriority)(CUstream, int* priority) { *priority = 0; return CUDA_SUCCESS; }
FUNCTION(cuStreamGetFlags)(CUstream, unsigned* flags) { *flags = CU_STREAM_NON_BLOCKING; return CUDA_SUCCESS; }
FUNCTION(cuEventCreate)(CUevent* event, unsigned) {
  if (CUresult error = in_context()) return error;
  *event = reinterpret_cast<CUevent>(new Event);
  return CUDA_SUCCESS;
}
FUNCTION(cuEventDestroy_v2)(CUevent) { return CUDA_SUCCESS; }  // not deleted: a stream may still have to reach it
FUNCTION(cuEventRecord)(CUevent event, CUstream stream) {
  if (CUresult error = on(stream)) return error;
  Event* it = of(event);
  long which;
  {
    std::lock_guard held(it->lock);
    which = ++it->recorded;
  }
  of(stream)->add([=] {
    std::lock_guard held(it->lock);
    it->reached = which, it->when = now();
    it->done.notify_all();
  });
  return CUDA_SUCCESS;
}
FUNCTION(cuEventSynchronize)(CUevent event) {
  long which;
  {
    std::lock_guard held(of(event)->lock);
    which = of(event)->recorded;
  }
  of(event)->wait(which);
  return health();
}
FUNCTION(cuEventQuery)(CUevent event) {
  std::lock_guard held(of(event)->lock);
  return of(event)->reached >= of(event)->recorded ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
FUNCTION(cuEventElapsedTime_v2)(float* milliseconds, CUevent from, CUevent to) {
  *milliseconds = float((of(to)->when - of(from)->when) * 1e3);
  return CUDA_SUCCESS;
}
FUNCTION(cuStreamWaitEvent)(CUstream stream, CUevent event, unsigned) {
  Event* it = of(event);
  long which;
  {
    std::lock_guard held(it->lock);
    which = it->recorded;
  }
  of(stream)->add([=] { it->wait(which); });
  return CUDA_SUCCESS;
}

// Graphs, by capture
FUNCTION(cuStreamBeginCapture_v2)(CUstream stream, CUstreamCaptureMode) {
  Stream* it = of(stream);
  std::lock_guard held(it->lock);
  if (it->captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  it->captured = new Graph;
  return CUDA_SUCCESS;
}
FUNCTION(cuStreamEndCapture)(CUstream stream, CUgraph* graph) {
  Stream* it = of(stream);
  std::lock_guard held(it->lock);
  *graph = reinterpret_cast<CUgraph>(it->captured);
  it->captured = nullptr;
  return CUDA_SUCCESS;
}
FUNCTION(cuStreamIsCapturing)(CUstream stream, CUstreamCaptureStatus* status) {
  std::lock_guard held(of(stream)->lock);
  *status = of(stream)->captured ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}
static CUresult capture_info(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph) {
  if (id) *id = (cuuint64_t)stream;
  if (graph) *graph = reinterpret_cast<CUgraph>(of(stream)->captured);
  return cuStreamIsCapturing(stream, status);
}
FUNCTION(cuStreamGetCaptureInfo_v2)(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph,
                                    const CUgraphNode**, size_t* count) {
  if (count) *count = 0;
  return capture_info(stream, status, id, graph);
}
FUNCTION(cuStreamGetCaptureInfo_v3)(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph,
                                    const CUgraphNode**, const CUgraphEdgeData**, size_t* count) {
  if (count) *count = 0;
  return capture_info(stream, status, id, graph);
}
FUNCTION(cuGraphInstantiateWithParams)(CUgraphExec* made, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
  params->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  *made = reinterpret_cast<CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return CUDA_SUCCESS;
}
FUNCTION(cuUserObjectCreate)(CUuserObject* object, void* data, CUhostFn destroy, unsigned, unsigned) {
  *object = reinterpret_cast<CUuserObject>(new std::shared_ptr<void>(data, destroy));
  return CUDA_SUCCESS;
}
FUNCTION(cuUserObjectRelease)(CUuserObject object, unsigned) {
  delete reinterpret_cast<std::shared_ptr<void>*>(object);
  return CUDA_SUCCESS;
}
FUNCTION(cuGraphRetainUserObject)(CUgraph graph, CUuserObject object, unsigned, unsigned flags) {
  auto* it = reinterpret_cast<std::shared_ptr<void>*>(object);
  reinterpret_cast<Graph*>(graph)->kept.push_back(*it);
  if (flags & CU_GRAPH_USER_OBJECT_MOVE) delete it;
  return CUDA_SUCCESS;
}
FUNCTION(cuGraphReleaseUserObject)(CUgraph graph, CUuserObject, unsigned) {
  reinterpret_cast<Graph*>(graph)->kept.pop_back();
  return CUDA_SUCCESS;
}
FUNCTION(cuGraphLaunch)(CUgraphExec graph, CUstream stream) {
  if (CUresult error = on(stream)) return error;
  if (CUresult error = health()) return error;
  for (auto& work : *reinterpret_cast<Graph*>(graph)->work) of(stream)->add(work);
  std::lock_guard held(big);
  graphs_launched++;
  return CUDA_SUCCESS;
}
FUNCTION(cuGraphDestroy)(CUgraph graph) { delete reinterpret_cast<Graph*>(graph); return CUDA_SUCCESS; }
FUNCTION(cuGraphExecDestroy)(CUgraphExec graph) { delete reinterpret_cast<Graph*>(graph); return CUDA_SUCCESS; }

// What TensorRT would launch: a function of the host, as compute
FUNCTION(cuLaunchHostFunc)(CUstream stream, CUhostFn function, void* data) {
  if (CUresult error = health()) return error;
  if (CUresult error = on(stream)) return error;
  Stream* it = of(stream);
  it->add([=] {
    timed('c', it, computing, [=] { function(data); });
    std::lock_guard held(big);
    if (launches_left > 0 && --launches_left == 0) lost = true;
  });
  return CUDA_SUCCESS;
}

// The kernels of declip_rt/native/ragged.cu and tests/gpu/network.cu, by the functions that they are made of.
using Kernel = void (*)(void** arguments, int jobs);
template <typename T> T argument(void** arguments, int i) { return *static_cast<T*>(arguments[i]); }
static const declip::Job* jobs_of(void** arguments) { return argument<const declip::Job*>(arguments, 0); }
static void weigh(void** given, int count) {
  for (int n = 0; n < count; n++) declip::weigh(declip::Alone(), jobs_of(given)[n], argument<int>(given, 1));
}
static void pass_one(void** given, int count) {
  std::vector<uint32_t> tile(declip::kTile);
  for (int n = 0; n < count; n++)
    declip::pass_one(declip::Alone(), jobs_of(given)[n], argument<int>(given, 1), tile.data(),
                     argument<uint8_t*>(given, 2));
}
static void pass_two(void** given, int count) {
  for (int n = 0; n < count; n++)
    declip::pass_two(declip::Alone(), jobs_of(given)[n], argument<int>(given, 1), argument<uint8_t*>(given, 2),
                     argument<uint8_t*>(given, 3));
}
static void small_network(void** given, int count) {
  auto pixels = argument<const unsigned char*>(given, 0);
  auto at = [=](int i) { return argument<float*>(given, i); };
  const int inputs = argument<int>(given, 5), heads = argument<int>(given, 6), features = argument<int>(given, 7);
  std::vector<float> layer(heads + 2 * features);
  for (int n = 0; n < count; n++) {
    for (int i = 0; i < int(layer.size()); i++)
      layer[i] = layer_of(pixels + n * inputs, at(1), inputs, layer.size(), i);
    for (int i = 0; i < int(layer.size()); i++)
      *place_of(at(2), at(3), at(4), heads, features, n, i) = output_of(layer.data(), heads, features, i);
  }
}
static const auto& kernels = *new std::map<std::string, std::pair<Kernel, std::vector<size_t>>>{
    {"declip_weigh", {weigh, {8, 4}}},
    {"declip_pass_one", {pass_one, {8, 4, 8}}},
    {"declip_pass_two", {pass_two, {8, 4, 8, 8}}},
    {"small_network", {small_network, {8, 8, 8, 8, 8, 4, 4, 4}}}};

FUNCTION(cuLibraryLoadData)(CUlibrary* library, const void* code, CUjit_option*, void**, unsigned, CUlibraryOption*, void**,
                            unsigned) {
  *library = reinterpret_cast<CUlibrary>(0x2000);
  int version;
  cuDriverGetVersion(&version);
  if (version < 13000) return CUDA_ERROR_INVALID_IMAGE;  // what nvcc 13 made
  {
    std::lock_guard held(big);
    queued.push_back("load");
  }
  return *static_cast<const unsigned*>(code) == 0xba55ed50 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
FUNCTION(cuLibraryUnload)(CUlibrary) { return CUDA_SUCCESS; }
FUNCTION(cuLibraryGetKernel)(CUkernel* kernel, CUlibrary, const char* name) {
  auto found = kernels.find(name);
  if (found == kernels.end()) return CUDA_ERROR_NOT_FOUND;
  *kernel = (CUkernel)(&*found);
  return CUDA_SUCCESS;
}
static CUresult launch(void* kernel, int count, void** arguments, CUstream stream) {
  if (CUresult error = health()) return error;
  if (CUresult error = on(stream)) return error;
  auto& [name, facts] = *static_cast<const std::pair<const std::string, std::pair<Kernel, std::vector<size_t>>>*>(kernel);
  auto kept = std::make_shared<std::vector<uint64_t>>(facts.second.size());
  for (size_t i = 0; i < kept->size(); i++) memcpy(&(*kept)[i], arguments[i], facts.second[i]);
  {
    std::lock_guard held(big);
    queued.push_back(name + " " + std::to_string(count));
  }
  of(stream)->add([=, run = facts.first] {
    std::vector<void*> pointers;
    for (auto& each : *kept) pointers.push_back(&each);
    run(pointers.data(), count);
  });
  return CUDA_SUCCESS;
}
FUNCTION(cuLaunchKernel)(CUfunction kernel, unsigned, unsigned y, unsigned, unsigned, unsigned, unsigned, unsigned,
                         CUstream stream, void** arguments, void**) {
  return launch(kernel, y, arguments, stream);
}
FUNCTION(cuLaunchKernelEx)(const CUlaunchConfig* config, CUfunction kernel, void** arguments, void**) {
  return launch(kernel, config->gridDimY, arguments, config->hStream);
}

// Where a name has had several signatures, the version asked for tells which.
FUNCTION(cuGetProcAddress_v2)(const char* name, void** function, int version, cuuint64_t,
                              CUdriverProcAddressQueryResult* found) {
  static void* self = [] {
    Dl_info info;
    dladdr((void*)&cuInit, &info);
    return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  }();
  std::string base = name;
  std::vector<std::string> names = {base + "_v3", base + "_v2", base};
  if (base == "cuStreamGetCaptureInfo" && version < 12030) names = {base + "_v2"};
  if (base == "cuCtxGetDevice" && version < 13000) names = {base};
  *function = nullptr;
  for (auto& each : names)
    if ((*function = dlsym(self, each.c_str()))) break;
  if (found) *found = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
