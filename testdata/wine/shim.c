/* SPDX-License-Identifier: Apache-2.0
 *
 * A bcryptprimitives.dll for Wine 8, which lets Go programs start there and lets
 * a Go service be one. For tests; nothing of it is shipped. The program under
 * test is the released one to the byte. What it does to it, in four calls:
 *
 *  - ProcessPrng is there. Wine 8 lacks it, and Go's runtime ends without it.
 *  - NtSetInformationFile says STATUS_INVALID_INFO_CLASS where Wine says
 *    STATUS_NOT_IMPLEMENTED to a disposition that it does not know. So does an
 *    older Windows, and Go falls back to the older disposition only on that.
 *  - NtQuerySystemInformation puts services.exe into session 0. Wine has it in
 *    1, and x/sys/windows/svc takes a service for a program in a console then.
 *
 *  - CreateProcessW is tried again where Wine says ERROR_INTERNAL_ERROR, which on a
 *    busy machine ended a test with "fork/exec ...: Internal error". Wine says it in
 *    one place, NtCreateUserProcess: the new Unix process ended, with exit code 0,
 *    before it told wineserver that it is there. Wine forks twice and looks at
 *    neither the second fork nor the exec after it, so want of processes or memory
 *    for a moment ends there, and so does a loader that gets no memory where it must
 *    lie. Nothing of the program has run by then, so another try repeats nothing.
 *    The server is not the cause: prefix.sh starts it once, and it stays.
 *
 * A test that passes here says nothing of these four calls on Windows.
 */
#include <windows.h>
#include <winternl.h>

#define NOT_IMPLEMENTED ((NTSTATUS)0xC0000002)
#define INVALID_INFO_CLASS ((NTSTATUS)0xC0000003)
#define DISPOSITION_EX 64
#define RENAME_EX 65
#define PROCESSES 5 /* SystemProcessInformation; on x64 the name is at 56, the session at 100 */

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n)
{
    while (n) {
        ULONG some = n > 0x10000000 ? 0x10000000 : (ULONG)n;
        if (!SystemFunction036(p, some)) return FALSE;
        p += some;
        n -= some;
    }
    return TRUE;
}

typedef NTSTATUS (NTAPI *set_file)(HANDLE, PIO_STATUS_BLOCK, PVOID, ULONG, int);
typedef NTSTATUS (NTAPI *query_system)(int, PVOID, ULONG, PULONG);
typedef FARPROC (WINAPI *get_proc)(HMODULE, LPCSTR);
typedef BOOL (WINAPI *create_process)(LPCWSTR, LPWSTR, LPSECURITY_ATTRIBUTES, LPSECURITY_ATTRIBUTES, BOOL, DWORD, LPVOID, LPCWSTR, LPSTARTUPINFOW,
                                      LPPROCESS_INFORMATION);

static set_file real_set_file;
static query_system real_query_system;
static get_proc real_get_proc;
static create_process real_create_process;

static NTSTATUS NTAPI our_set_file(HANDLE h, PIO_STATUS_BLOCK io, PVOID buf, ULONG n, int class)
{
    NTSTATUS st = real_set_file(h, io, buf, n, class);
    if (st == NOT_IMPLEMENTED && (class == DISPOSITION_EX || class == RENAME_EX)) st = INVALID_INFO_CLASS;
    return st;
}

static int is_services(const WCHAR *name, USHORT bytes)
{
    static const WCHAR want[] = L"services.exe";
    int i;
    if (!name || bytes != sizeof want - sizeof(WCHAR)) return 0;
    for (i = 0; i < bytes / 2; i++)
        if ((name[i] | 0x20) != (want[i] | 0x20)) return 0;
    return 1;
}

static NTSTATUS NTAPI our_query_system(int class, PVOID buf, ULONG len, PULONG ret)
{
    NTSTATUS st = real_query_system(class, buf, len, ret);
    BYTE *p = buf;
    if (st || class != PROCESSES || !p) return st;
    for (;; p += *(ULONG *)p) {
        if (is_services(*(WCHAR **)(p + 64), *(USHORT *)(p + 56))) *(ULONG *)(p + 100) = 0;
        if (!*(ULONG *)p) return st;
    }
}

static BOOL WINAPI our_create_process(LPCWSTR app, LPWSTR line, LPSECURITY_ATTRIBUTES ps, LPSECURITY_ATTRIBUTES ts, BOOL inherit, DWORD flags,
                                      LPVOID env, LPCWSTR dir, LPSTARTUPINFOW start, LPPROCESS_INFORMATION info)
{
    int tries;
    for (tries = 1;; tries++) {
        if (real_create_process(app, line, ps, ts, inherit, flags, env, dir, start, info)) return TRUE;
        if (GetLastError() != ERROR_INTERNAL_ERROR || tries == 5) return FALSE;
        Sleep(100 * tries);
    }
}

static FARPROC WINAPI our_get_proc(HMODULE m, LPCSTR name)
{
    FARPROC f = real_get_proc(m, name);
    if (!f || !((ULONG_PTR)name >> 16)) return f; /* by number */
    if (!lstrcmpA(name, "NtSetInformationFile")) {
        real_set_file = (set_file)f;
        return (FARPROC)our_set_file;
    }
    if (!lstrcmpA(name, "CreateProcessW")) {
        real_create_process = (create_process)f;
        return (FARPROC)our_create_process;
    }
    if (!lstrcmpA(name, "NtQuerySystemInformation")) {
        real_query_system = (query_system)f;
        return (FARPROC)our_query_system;
    }
    return f;
}

/* Go asks GetProcAddress for all of the above, so the one entry of it in the
 * program's import table is changed. */
static void patch(void)
{
    BYTE *base = (BYTE *)GetModuleHandleA(NULL);
    IMAGE_NT_HEADERS *nt = (IMAGE_NT_HEADERS *)(base + ((IMAGE_DOS_HEADER *)base)->e_lfanew);
    IMAGE_DATA_DIRECTORY dir = nt->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    IMAGE_IMPORT_DESCRIPTOR *d = (IMAGE_IMPORT_DESCRIPTOR *)(base + dir.VirtualAddress);
    FARPROC want = GetProcAddress(GetModuleHandleA("kernel32.dll"), "GetProcAddress");
    real_get_proc = (get_proc)want;
    if (!dir.VirtualAddress) return;
    for (; d->Name; d++) {
        FARPROC *t = (FARPROC *)(base + d->FirstThunk);
        DWORD old;
        for (; *t; t++) {
            if (*t != want || !VirtualProtect(t, sizeof *t, PAGE_READWRITE, &old)) continue;
            *t = (FARPROC)our_get_proc;
            VirtualProtect(t, sizeof *t, old, &old);
        }
    }
}

BOOL WINAPI DllMainCRTStartup(HINSTANCE h, DWORD reason, LPVOID r)
{
    if (reason == DLL_PROCESS_ATTACH) patch();
    return TRUE;
}
