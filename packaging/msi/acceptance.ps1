# SPDX-License-Identifier: Apache-2.0
#
# acceptance.ps1 asks a real Windows what no other test can: installs certpush,
# looks at service, rights and events, drops samples, kills it, upgrades it while it
# runs, and takes it away again. One line for each check; exit 1 if any failed.
#
#   powershell -ExecutionPolicy Bypass -File acceptance.ps1 -Msi C:\new.msi [-OldMsi C:\old.msi]
#
# Run it as administrator, on a 64-bit machine that holds no certpush: it refuses
# where one is installed or where %ProgramData%\certpush exists, for it removes both
# at the end. It takes about two minutes. For Windows PowerShell 5.1 and newer.

#Requires -Version 5.1
#Requires -RunAsAdministrator

param(
    [Parameter(Mandatory = $true)] [string] $Msi,
    [string] $OldMsi = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$program = Join-Path $env:ProgramFiles 'certpush\certpush.exe'
# Not from the environment, which may say something else than the system does.
$data = Join-Path ([Environment]::GetFolderPath('CommonApplicationData')) 'certpush'
$config = Join-Path $data 'certpush.toml'
$lab = Join-Path $env:SystemDrive 'certpush-acceptance'
$samples = Join-Path $lab 'samples'
$log = Join-Path ([IO.Path]::GetTempPath()) 'certpush-acceptance-msi.log'
$service = 'HKLM:\SYSTEM\CurrentControlSet\Services\certpush'
# SHA-1 of the service's name: the same on every machine.
$sid = 'S-1-5-80-2277295455-456358032-4189928229-3120900629-3315383168'
$script:failed = 0
$begun = Get-Date

# Must ends a check that does not hold.
function Must {
    param([bool] $Holds, [string] $Text)
    if (-not $Holds) { throw $Text }
}

# Check runs a block and prints how it went.
function Check {
    param([string] $Name, [scriptblock] $Block)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    try {
        $null = & $Block
        Write-Host ('ok - {0} ({1:0.0} s)' -f $Name, $watch.Elapsed.TotalSeconds)
    } catch {
        $script:failed++
        Write-Host ('not ok - {0}: {1}' -f $Name, $_.Exception.Message)
    }
}

# Wait-For asks until the block says $true.
function Wait-For {
    param([double] $Seconds, [string] $What, [scriptblock] $Block)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($watch.Elapsed.TotalSeconds -lt $Seconds) {
        if (& $Block) { return }
        Start-Sleep -Milliseconds 100
    }
    throw ('waited {0} s in vain: {1}' -f $Seconds, $What)
}

# Run starts a program and returns its Code and Text.
function Run {
    param([string] $File, [string] $Arguments)
    $start = New-Object Diagnostics.ProcessStartInfo
    $start.FileName = $File
    $start.Arguments = $Arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $process = [Diagnostics.Process]::Start($start)
    # Both at once: a full pipe would hold the program.
    $errors = $process.StandardError.ReadToEndAsync()
    $text = $process.StandardOutput.ReadToEnd()
    $process.WaitForExit()
    return New-Object PSObject -Property @{ Code = $process.ExitCode; Text = ($text + $errors.Result) }
}

# Certpush runs the installed program and throws unless it ends with a code.
function Certpush {
    param([string] $Arguments, [int] $Code = 0)
    $ran = Run $program $Arguments
    Must ($ran.Code -eq $Code) ('certpush {0} ended with {1}, not {2}: {3}' -f $Arguments, $ran.Code, $Code, $ran.Text.Trim())
    return $ran.Text
}

# Installer runs msiexec without a word and returns its code. 3010, a success that
# asks for a restart, is none here: nothing of certpush needs one.
function Installer {
    param([string] $Arguments)
    $ran = Run (Join-Path $env:SystemRoot 'System32\msiexec.exe') ('{0} /qn /norestart /l*v "{1}"' -f $Arguments, $log)
    return $ran.Code
}

function Install {
    param([string] $Package, [string] $Properties = '')
    $code = Installer ('/i "{0}" {1}' -f $Package, $Properties)
    Must ($code -eq 0) ('msiexec ended with {0}: see {1}' -f $code, $log)
}

# Net starts or stops the service and waits for it. The commands of PowerShell would
# keep it open, and Windows deletes no service that somebody has open.
function Net {
    param([string] $Action)
    $ran = Run (Join-Path $env:SystemRoot 'System32\net.exe') ('{0} certpush' -f $Action)
    Must ($ran.Code -eq 0) ('net {0} certpush ended with {1}: {2}' -f $Action, $ran.Code, $ran.Text.Trim())
}

# Entries are what Apps & features lists of certpush.
function Entries {
    $found = @()
    foreach ($key in Get-ChildItem 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall') {
        if ($key.GetValue('DisplayName') -eq 'certpush') { $found += $key }
    }
    return , $found
}

function Uninstall {
    $entries = Entries
    Must ($entries.Count -eq 1) ('{0} entries of certpush in Apps & features' -f $entries.Count)
    $code = Installer ('/x {0}' -f $entries[0].PSChildName)
    Must ($code -eq 0) ('msiexec ended with {0}: see {1}' -f $code, $log)
}

function Service-Object { return Get-CimInstance Win32_Service -Filter "Name='certpush'" }

function State {
    $found = Service-Object
    if ($null -eq $found) { return 'gone' }
    return $found.State
}

function Value {
    param([string] $Key, [string] $Name)
    $value = (Get-Item -LiteralPath $Key).GetValue($Name, $null, [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
    Must ($null -ne $value) ('{0} has no value {1}' -f $Key, $Name)
    return $value
}

# Outcomes are the ledger's lines of one file, by its name.
function Outcomes {
    param([string] $Name)
    $found = @()
    $ledger = Join-Path $data 'ledger'
    if (Test-Path -LiteralPath $ledger) {
        foreach ($file in Get-ChildItem -LiteralPath $ledger -Filter 'verdicts.log*') {
            foreach ($line in Get-Content -LiteralPath $file.FullName -Encoding UTF8) {
                $outcome = $null
                # The last line may be half written yet.
                try { $outcome = $line | ConvertFrom-Json } catch { continue }
                if ($outcome.PSObject.Properties['path'] -and $outcome.path.EndsWith('\' + $Name)) { $found += $outcome }
            }
        }
    }
    return , $found
}

# Field is a key of an outcome; those without a value are not written.
function Field {
    param($Of, [string] $Name)
    if ($Of.PSObject.Properties[$Name]) { return $Of.$Name }
    return ''
}

# Drop writes a sample and waits for its outcome, which it returns.
function Drop {
    param([string] $Name, [string] $Text, [double] $Seconds = 5)
    [IO.File]::WriteAllText((Join-Path $samples $Name), $Text)
    Wait-For $Seconds ('an outcome of ' + $Name) { (Outcomes $Name).Count -gt 0 }
    return (Outcomes $Name)[0]
}

# Rights are the rules of a file or folder, with accounts as numbers.
function Rights {
    param([string] $Path)
    return (Get-Acl -LiteralPath $Path).GetAccessRules($true, $true, [Security.Principal.SecurityIdentifier])
}

# Only-Ours holds that nobody but SYSTEM, administrators and the service is let in,
# and that nothing comes from above.
function Only-Ours {
    param([string] $Path)
    $acl = Get-Acl -LiteralPath $Path
    Must $acl.AreAccessRulesProtected ('{0} inherits rights: {1}' -f $Path, $acl.Sddl)
    $owner = $acl.GetOwner([Security.Principal.SecurityIdentifier]).Value
    Must (@('S-1-5-32-544', 'S-1-5-18') -contains $owner) ('{0} is owned by {1}' -f $Path, $owner)
    $full = 0
    foreach ($rule in Rights $Path) {
        $who = $rule.IdentityReference.Value
        Must (@('S-1-5-18', 'S-1-5-32-544', $sid) -contains $who) ('{0} lets {1} in: {2}' -f $Path, $who, $acl.Sddl)
        if ($who -ne $sid -and $rule.FileSystemRights -eq [Security.AccessControl.FileSystemRights]::FullControl) { $full++ }
    }
    Must ($full -ge 2) ('SYSTEM and administrators have not all rights on {0}: {1}' -f $Path, $acl.Sddl)
}

# Mask adds up what the service may do.
function Mask {
    param([string] $Path)
    $mask = 0
    foreach ($rule in Rights $Path) {
        $here = ($rule.PropagationFlags -band [Security.AccessControl.PropagationFlags]::InheritOnly) -eq 0
        if ($here -and $rule.IdentityReference.Value -eq $sid) { $mask = $mask -bor [int] $rule.FileSystemRights }
    }
    return $mask
}

function Check-Service {
    Check 'the service runs, begins by itself and later than the others' {
        Wait-For 10 'the service is running' { (State) -eq 'Running' }
        Must ((Value $service 'Start') -eq 2) 'its start is not automatic'
        Must ((Value $service 'DelayedAutostart') -eq 1) 'its start is not delayed'
    }
    Check 'its account is its own, and its identity unrestricted' {
        Must ((Service-Object).StartName -eq 'NT SERVICE\certpush') ('it runs as ' + (Service-Object).StartName)
        Must ((Value $service 'ServiceSidType') -eq 1) 'its SID type is not unrestricted'
        $account = New-Object Security.Principal.NTAccount 'NT SERVICE\certpush'
        $is = $account.Translate([Security.Principal.SecurityIdentifier]).Value
        Must ($is -eq $sid) ('the account is {0}, and the MSI gives rights to {1}' -f $is, $sid)
        $running = Get-CimInstance Win32_Process -Filter ('ProcessId={0}' -f (Service-Object).ProcessId)
        $owner = Invoke-CimMethod -InputObject $running -MethodName GetOwnerSid
        Must ($owner.Sid -eq $sid) ('the process is owned by ' + $owner.Sid)
    }
    Check 'its command line is quoted' {
        $want = '"{0}" run -c "{1}"' -f $program, $config
        Must ((Value $service 'ImagePath') -eq $want) ('it is ' + (Value $service 'ImagePath'))
    }
    Check 'recovery: after 5, 30 and 60 s, counted for a day, also when it ends with an error' {
        # SERVICE_FAILURE_ACTIONS: reset period, message, command, count, offset; then
        # pairs of what (1: restart) and after how many milliseconds.
        $bytes = [byte[]] (Value $service 'FailureActions')
        $numbers = @()
        for ($i = 0; $i + 4 -le $bytes.Length; $i += 4) { $numbers += [BitConverter]::ToUInt32($bytes, $i) }
        $text = $numbers -join ' '
        Must ($numbers.Count -ge 11) ('it is ' + $text)
        Must ($numbers[0] -eq 86400 -and $numbers[3] -eq 3) ('it is ' + $text)
        Must (($numbers[5..10] -join ' ') -eq '1 5000 1 30000 1 60000') ('it is ' + $text)
        Must ((Value $service 'FailureActionsOnNonCrashFailures') -eq 1) 'only after a crash'
    }
}

function Check-Rights {
    Check 'the folder of configuration and state lets in SYSTEM, administrators and the service, nobody else' {
        Only-Ours $data
        # Write in it, but not: rename or delete it, change rights, become owner.
        $has = Mask $data
        Must (($has -band 0x1201bf) -eq 0x1201bf) ('the service has 0x{0:x}' -f $has)
        Must (($has -band 0xd0000) -eq 0) ('the service has 0x{0:x}' -f $has)
    }
    Check 'the service reads its configuration, and no more' {
        Only-Ours $config
        $has = Mask $config
        Must (($has -band 0x120089) -eq 0x120089) ('the service has 0x{0:x}' -f $has)
        Must (($has -band 0xd0156) -eq 0) ('the service has 0x{0:x}' -f $has)
    }
    Check 'who has no rights cannot write where the program is' {
        foreach ($path in @((Split-Path $program), $program)) {
            foreach ($rule in Rights $path) {
                $trusted = @('S-1-5-18', 'S-1-5-32-544', 'S-1-3-0') -contains $rule.IdentityReference.Value
                # TrustedInstaller.
                $trusted = $trusted -or $rule.IdentityReference.Value.StartsWith('S-1-5-80-956008885-')
                $writes = ([int] $rule.FileSystemRights -band 0x500d0156) -ne 0
                Must ($trusted -or -not $writes) ('{0} may be written by {1}' -f $path, $rule.IdentityReference.Value)
            }
        }
    }
}

# Write-Config writes into the file that is there, so that its rights stay.
function Write-Config {
    param([string] $Extra = '')
    $text = @(
        '[[watch]]', ("path = '{0}'" -f $samples), '',
        '[scanner.list]', 'type  = "hashlist"', ("lists = ['{0}']" -f (Join-Path $lab 'list.txt')), '', $Extra, ''
    ) -join "`r`n"
    [IO.File]::WriteAllText($config, $text)
}

if (-not [Environment]::Is64BitProcess) { throw 'this is a 32-bit PowerShell: start the 64-bit one' }
$Msi = (Resolve-Path -LiteralPath $Msi).ProviderPath
if ($OldMsi -ne '') { $OldMsi = (Resolve-Path -LiteralPath $OldMsi).ProviderPath }
if ((Entries).Count -ne 0 -or (State) -ne 'gone' -or (Test-Path -LiteralPath $data) -or (Test-Path -LiteralPath $lab)) {
    throw ('certpush is here already: uninstall it, move {0} and {1} away, and start again' -f $data, $lab)
}

try {
    $signature = Get-AuthenticodeSignature -LiteralPath $Msi
    Write-Host ('note - the signature of the MSI: {0}' -f $signature.Status)

    Check 'installed without a word' { Install $Msi }
    Check-Service
    Check-Rights
    Check 'it is listed once, with nothing to repair or change' {
        $entries = Entries
        Must ($entries.Count -eq 1) ('{0} entries' -f $entries.Count)
        Must ($entries[0].GetValue('NoRepair') -eq 1) 'a repair is offered'
        Must ($entries[0].GetValue('NoModify') -eq 1) 'a change is offered'
    }
    Check 'the program is in PATH' {
        $path = [Environment]::GetEnvironmentVariable('Path', 'Machine')
        Must ($path -like ('*' + (Split-Path $program) + '*')) ('PATH is ' + $path)
    }
    Check 'its events are in the Application log, and can be read' {
        Wait-For 10 'an event' { $null -ne (Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = 'certpush'; StartTime = $begun } -ErrorAction SilentlyContinue) }
        $events = @(Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = 'certpush'; StartTime = $begun })
        $idle = @($events | Where-Object { "$($_.Message)" -like '*watch*' })
        Must ($idle.Count -gt 0) ('none says that there is nothing to watch; the last is: ' + $events[0].Message)
        Must (@($events | Where-Object { "$($_.Message)" -eq '' }).Count -eq 0) 'an event has no text: its message file is not found'
    }

    $null = New-Item -ItemType Directory -Path $samples
    $null = Run (Join-Path $env:SystemRoot 'System32\icacls.exe') ('"{0}" /grant "*{1}:(OI)(CI)RX"' -f $lab, $sid)
    $listed = 'a harmless file that is on the list'
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash([Text.Encoding]::UTF8.GetBytes($listed))
    [IO.File]::WriteAllText((Join-Path $lab 'list.txt'), ([BitConverter]::ToString($hash).Replace('-', '').ToLower() + "`r`n"))

    Check 'a good file is taken over by a reload' {
        Write-Config
        $null = Certpush 'check'
        $null = Certpush 'reload'
    }
    Check 'its own engine watches the tree' {
        $status = Certpush 'status --json' | ConvertFrom-Json
        Must ($status.trees.Count -eq 1) ('{0} trees' -f $status.trees.Count)
        Must ($status.trees[0].engine -eq 'windows') ('the engine is ' + $status.trees[0].engine)
    }
    Check 'a dropped sample is judged within 5 s' {
        $outcome = Drop 'listed.bin' $listed
        Must ((Field $outcome 'verdict') -eq 'malicious') ('the verdict is ' + (Field $outcome 'verdict'))
        $outcome = Drop 'unlisted.bin' 'a file that nobody knows'
        Must ((Field $outcome 'verdict') -eq 'unscanned') ('the verdict is ' + (Field $outcome 'verdict'))
    }
    Check 'a sample in a folder deeper than 260 characters too' {
        $from = Join-Path $lab 'from'
        $null = New-Item -ItemType Directory -Path $from
        [IO.File]::WriteAllText((Join-Path $from 'deep.bin'), $listed)
        $deep = $samples
        foreach ($n in 1..6) { $deep = $deep + '\' + ([string] $n) * 50 }
        # PowerShell itself may be stopped by the limit.
        $ran = Run (Join-Path $env:SystemRoot 'System32\robocopy.exe') ('"{0}" "{1}"' -f $from, $deep)
        Must ($ran.Code -lt 8) ('robocopy ended with {0}: {1}' -f $ran.Code, $ran.Text.Trim())
        Wait-For 10 'an outcome of deep.bin' { (Outcomes 'deep.bin').Count -gt 0 }
        Must ((Field (Outcomes 'deep.bin')[0] 'verdict') -eq 'malicious') ('the verdict is ' + (Field (Outcomes 'deep.bin')[0] 'verdict'))
    }
    Check 'EICAR is malicious, whoever is first' {
        # In two parts: an anti-virus on this machine would take this script away.
        $text = 'X5O!P%@AP[4\PZX54(P^)7CC)7}$' + 'EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'
        $path = Join-Path $samples 'eicar.com'
        try { [IO.File]::WriteAllText($path, $text) } catch { Write-Host ('note - the host''s own anti-virus refused the file: {0}' -f $_.Exception.Message) }
        try {
            Wait-For 10 'an outcome of eicar.com' { (Outcomes 'eicar.com').Count -gt 0 }
        } catch {
            Must (-not (Test-Path -LiteralPath $path)) 'it lies there and has no outcome'
            Write-Host 'note - the host''s own anti-virus took it away before it had settled'
            return
        }
        $outcome = (Outcomes 'eicar.com')[0]
        Must ($outcome.outcome -eq 'gone' -or (Field $outcome 'verdict') -eq 'malicious') ('it is {0}, {1}' -f $outcome.outcome, (Field $outcome 'verdict'))
        Write-Host ('note - EICAR: outcome {0}, signature {1}' -f $outcome.outcome, (Field $outcome 'signature'))
    }
    Check 'every file has its outcome' { $null = Certpush 'verify' }
    Check 'a bad file is refused, and the old one stays' {
        $was = (Service-Object).ProcessId
        Write-Config 'stat = 1'
        $null = Certpush 'reload' 78
        Must ((Service-Object).ProcessId -eq $was) 'the process is another one'
        $null = Drop 'meanwhile.bin' 'meanwhile'
        Write-Config
        $null = Certpush 'reload'
    }
    Check 'killed, it is there again within 10 s' {
        $was = (Service-Object).ProcessId
        Stop-Process -Id $was -Force
        Wait-For 10 'another process' { $now = Service-Object; $now.State -eq 'Running' -and $now.ProcessId -ne 0 -and $now.ProcessId -ne $was }
        $null = Drop 'after-kill.bin' 'after a kill' 10
    }
    Check 'stopped within 4 s, with samples waiting' {
        foreach ($n in 1..200) { [IO.File]::WriteAllText((Join-Path $samples ('many-{0}.bin' -f $n)), ('many {0}' -f $n)) }
        $was = (Service-Object).ProcessId
        $watch = [Diagnostics.Stopwatch]::StartNew()
        Net 'stop'
        Wait-For 5 'the process has ended' { $null -eq (Get-Process -Id $was -ErrorAction SilentlyContinue) }
        Must ($watch.Elapsed.TotalSeconds -le 4) ('it took {0:0.0} s' -f $watch.Elapsed.TotalSeconds)
        Net 'start'
        Wait-For 30 'the outcomes of all of them' { (Run $program 'status').Text -like '*Everything that has settled is pushed*' -and (Outcomes 'many-200.bin').Count -gt 0 }
        $null = Certpush 'verify'
    }
    $edited = [IO.File]::ReadAllText($config)
    Check 'a repair that an administrator asks for leaves what was edited' {
        $code = Installer ('/fa {0}' -f (Entries)[0].PSChildName)
        Must ($code -eq 0) ('msiexec ended with {0}: see {1}' -f $code, $log)
        Must ([IO.File]::ReadAllText($config) -eq $edited) 'the configuration is another one'
        Wait-For 10 'the service is running' { (State) -eq 'Running' }
        $null = Drop 'after-repair.bin' 'after a repair' 10
    }
    Check 'uninstalled: service, program and event source are gone, configuration and state are kept' {
        Uninstall
        Must ((State) -eq 'gone') 'the service is there'
        Must (-not (Test-Path -LiteralPath (Split-Path $program))) 'the program''s folder is there'
        Must (-not (Test-Path -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Services\EventLog\Application\certpush')) 'the event source is there'
        Must (-not ([Environment]::GetEnvironmentVariable('Path', 'Machine') -like ('*' + (Split-Path $program) + '*'))) 'it is in PATH'
        Must ((Entries).Count -eq 0) 'it is listed'
        Must ([IO.File]::ReadAllText($config) -eq $edited) 'the configuration is another one'
        Must ((Outcomes 'listed.bin').Count -gt 0) 'the ledger is another one'
    }

    if ($OldMsi -ne '') {
        Check 'the older one takes up what was kept' {
            Install $OldMsi
            Wait-For 10 'the service is running' { (State) -eq 'Running' }
            $null = Drop 'with-the-old.bin' 'with the old one' 10
        }
        Check 'upgraded while it runs: what was edited stays' {
            $old = [Diagnostics.FileVersionInfo]::GetVersionInfo($program).ProductVersion
            Install $Msi
            $new = [Diagnostics.FileVersionInfo]::GetVersionInfo($program).ProductVersion
            Must ($old -ne $new) ('the program is still {0}' -f $old)
            Must ((Certpush 'version') -like ('*' + $new + '*')) 'the program calls itself by another version'
            Must ((Entries).Count -eq 1) ('{0} entries in Apps & features' -f (Entries).Count)
            Must ([IO.File]::ReadAllText($config) -eq $edited) 'the configuration is another one'
            $null = Drop 'with-the-new.bin' 'with the new one' 10
        }
        Check-Service
        Check-Rights
        Check 'a downgrade is refused, and the newer one runs on' {
            $code = Installer ('/i "{0}"' -f $OldMsi)
            Must ($code -eq 1603) ('msiexec ended with {0}' -f $code)
            Must ((State) -eq 'Running') ('the service is ' + (State))
            $null = Drop 'after-downgrade.bin' 'after a downgrade' 10
        }
        Check 'an upgrade leaves a service disabled that was' {
            Uninstall
            Install $OldMsi
            Net 'stop'
            $null = Run (Join-Path $env:SystemRoot 'System32\sc.exe') 'config certpush start= disabled'
            Install $Msi
            Must ((State) -eq 'Stopped') ('the service is ' + (State))
            Must ((Value $service 'Start') -eq 4) 'it is not disabled any more'
        }
        Check 'uninstalled' { Uninstall }
    } else {
        Write-Host 'note - no -OldMsi: upgrade and downgrade are not checked'
    }

    Check 'START_SERVICE=0 starts nothing, CONFIGFILE names another file' {
        $other = Join-Path $lab 'other.toml'
        Copy-Item -LiteralPath $config -Destination $other
        Install $Msi ('START_SERVICE=0 CONFIGFILE="{0}"' -f $other)
        Must ((State) -eq 'Stopped') ('the service is ' + (State))
        Must ((Value $service 'ImagePath') -like ('* run -c "{0}"' -f $other)) ('its command line is ' + (Value $service 'ImagePath'))
        Net 'start'
        $null = Drop 'elsewhere.bin' 'elsewhere' 10
        Uninstall
    }
} finally {
    # The machine as it was, whatever happened.
    $left = Entries
    foreach ($entry in $left) { $null = Installer ('/x {0}' -f $entry.PSChildName) }
    foreach ($folder in @($lab, $data)) {
        if (Test-Path -LiteralPath $folder) { $null = Run (Join-Path $env:SystemRoot 'System32\cmd.exe') ('/d /c rmdir /s /q "\\?\{0}"' -f $folder) }
        if (Test-Path -LiteralPath $folder) { Write-Host ('note - {0} could not be removed: remove it by hand' -f $folder) }
    }
}

if ($script:failed -gt 0) {
    Write-Host ('{0} checks failed; the last log of msiexec is {1}' -f $script:failed, $log)
    exit 1
}
Write-Host 'all checks passed'
exit 0
